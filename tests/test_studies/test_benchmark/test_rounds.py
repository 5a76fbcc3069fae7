from __future__ import annotations

import torch

from mmqadapter.studies.benchmark.rounds import in_order, schedule_rounds


def test_on_a_cpu_a_round_is_one_step_and_models_stay() -> None:
    rounds = schedule_rounds(torch.device('cpu'), steps=4, warm_up=3)
    assert [r.steps for r in rounds] == [1, 1, 1, 1]
    assert [r.warm_up for r in rounds] == [3, 0, 0, 0]
    assert not any(r.frees_device for r in rounds)


def test_on_a_gpu_each_round_warms_up_and_frees_the_device() -> None:
    rounds = schedule_rounds(torch.device('cuda'), steps=5, warm_up=2)
    assert sum(r.steps for r in rounds) == 5 and len(rounds) > 1
    assert all(r.frees_device and r.warm_up == 2 and r.steps for r in rounds)
    assert len(schedule_rounds(torch.device('cuda'), steps=1, warm_up=2)) == 1


def test_odd_rounds_are_in_reverse_order() -> None:
    assert [in_order('ABC', index) for index in range(3)] == [
        ['A', 'B', 'C'],
        ['C', 'B', 'A'],
        ['A', 'B', 'C'],
    ]
