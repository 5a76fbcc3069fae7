"""Check that a model has one output for each class of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.engine.class_names import config_classes

# Parts of a model whose ``num_classes`` has another meaning, or none.
OTHERS = ('backbone', 'data_preprocessor', 'neck', 'rpn_head', 'test_cfg', 'train_cfg')


def output_problems(model: Mapping[str, Any] | None, classes: tuple[str, ...]) -> list[Problem]:
    """Report heads that have fewer or more outputs than there are classes.

    Args:
        model: Config of the model; None for no model.
        classes: Class names of the data.
    """
    problems = []
    for path, count in _outputs(model or {}, 'model'):
        message = f'{path}.num_classes = {count}, the data has {len(classes)} classes'
        if count < len(classes):
            problems.append(Problem(ERROR, 'class without output', path, message))
        elif count > len(classes):
            problems.append(Problem(WARNING, 'output without class', path, message))
    return problems


def require_outputs(cfg: Config) -> None:
    """Check that every head has an output for each class of the training data.

    Raises:
        ValueError: A head has fewer outputs, so its loss would meet a label that it does not know.
    """
    for classes in config_classes(cfg, 'train'):
        for problem in output_problems(cfg.get('model'), classes):
            if problem.severity == ERROR:
                raise ValueError(f'{problem.message}; set it to len(classes).')


def _outputs(part: Any, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(part, (list, tuple)):
        for number, item in enumerate(part):
            yield from _outputs(item, f'{path}[{number}]')
    if not isinstance(part, Mapping):
        return
    if type(part.get('num_classes')) is int and not part.get('class_agnostic'):
        yield path, part['num_classes']
    for name, inner in part.items():
        if name not in OTHERS:
            yield from _outputs(inner, f'{path}.{name}')
