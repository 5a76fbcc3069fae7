from __future__ import annotations

import torch

from mmqadapter.studies.benchmark.rounds import in_order, schedule_rounds


def test_on_a_cpu_methods_alternate_step_by_step_and_stay() -> None:
    rounds = schedule_rounds(torch.device('cpu'), steps=4, warm_up=3)
    assert [round_.steps for round_ in rounds] == [1, 1, 1, 1]
    assert [round_.warm_up for round_ in rounds] == [3, 0, 0, 0]
    assert not any(round_.leaves for round_ in rounds)


def test_on_a_gpu_a_method_has_it_to_itself_and_warms_up_anew() -> None:
    rounds = schedule_rounds(torch.device('cuda'), steps=5, warm_up=2)
    assert sum(round_.steps for round_ in rounds) == 5 and len(rounds) > 1
    assert all(round_.leaves and round_.warm_up == 2 and round_.steps for round_ in rounds)
    assert len(schedule_rounds(torch.device('cuda'), steps=1, warm_up=2)) == 1


def test_each_second_round_runs_backwards() -> None:
    assert [in_order('ABC', number) for number in range(3)] == [
        ['A', 'B', 'C'],
        ['C', 'B', 'A'],
        ['A', 'B', 'C'],
    ]
