"""Check that a model has an output for each class of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmqadapter.data_checks.problem import ERROR, WARNING, Problem

# Parts of a model whose ``num_classes`` is of something else, or of nothing.
OTHERS = ('backbone', 'data_preprocessor', 'neck', 'rpn_head', 'test_cfg', 'train_cfg')


def output_problems(model: Mapping[str, Any] | None, classes: tuple[str, ...]) -> list[Problem]:
    """Heads that have fewer or more outputs than there are classes.

    Args:
        model: Config of the model; None for none.
        classes: Of its data.
    """
    problems = []
    for place, count in _outputs(model or {}, 'model'):
        message = f'{place}.num_classes = {count}, the data has {len(classes)} classes'
        if count < len(classes):
            problems.append(Problem(ERROR, 'class without output', place, message))
        elif count > len(classes):
            problems.append(Problem(WARNING, 'output without class', place, message))
    return problems


def _outputs(part: Any, place: str) -> Iterator[tuple[str, int]]:
    if isinstance(part, (list, tuple)):
        for number, one in enumerate(part):
            yield from _outputs(one, f'{place}[{number}]')
    if not isinstance(part, Mapping):
        return
    if type(part.get('num_classes')) is int:
        yield place, part['num_classes']
    for name, inner in part.items():
        if name not in OTHERS:
            yield from _outputs(inner, f'{place}.{name}')
