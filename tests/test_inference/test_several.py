"""Names of the results of several tasks."""

from __future__ import annotations

import pytest

from mmqadapter.inference.several import task_names


def names(*tasks: str) -> list[str]:
    return [*task_names([f'{task}.task.safetensors' for task in tasks])]


def test_a_task_is_called_as_its_file() -> None:
    assert names('runs/cracks', 'runs/Road') == ['cracks', 'Road']
    assert list(task_names(['runs/plain.safetensors'])) == ['plain']


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    assert names('cracks/best', 'roads/best', 'last') == ['cracks-best', 'roads-best', 'last']
    assert names('cracks/best', 'roads/BEST') == ['cracks-best', 'roads-BEST']


@pytest.mark.parametrize(
    'tasks', [('a/best', 'a/best'), ('x/a/best', 'y/a/best'), ('a/best', 'b/best', 'a-best')]
)
def test_names_that_are_still_equal_are_refused(tasks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two tasks would write results called 'a-best'"):
        names(*tasks)
