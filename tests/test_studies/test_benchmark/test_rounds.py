from __future__ import annotations

import torch

from mmqadapter.studies.benchmark.rounds import in_order, plan_turns


def test_on_a_cpu_methods_alternate_step_by_step_and_stay() -> None:
    turns = plan_turns(torch.device('cpu'), steps=4, warm_up=3)
    assert [turn.steps for turn in turns] == [1, 1, 1, 1]
    assert [turn.warm_up for turn in turns] == [3, 0, 0, 0]
    assert not any(turn.leaves for turn in turns)


def test_on_a_gpu_a_method_has_it_to_itself_and_warms_up_anew() -> None:
    turns = plan_turns(torch.device('cuda'), steps=5, warm_up=2)
    assert sum(turn.steps for turn in turns) == 5 and len(turns) > 1
    assert all(turn.leaves and turn.warm_up == 2 and turn.steps for turn in turns)
    assert len(plan_turns(torch.device('cuda'), steps=1, warm_up=2)) == 1


def test_each_second_round_runs_backwards() -> None:
    assert [in_order('ABC', number) for number in range(3)] == [
        ['A', 'B', 'C'],
        ['C', 'B', 'A'],
        ['A', 'B', 'C'],
    ]
