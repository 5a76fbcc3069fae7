"""Checks that a model has one output for each class of its data, and ignores the same label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmqadapter.data_checks.problem import ERROR, WARNING, Problem
from mmqadapter.engine.data_classes import check_classes, config_classes

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


def ignore_problems(
    model: Mapping[str, Any] | None, classes: tuple[str, ...], ignore_index: int | None, pixels: int
) -> list[Problem]:
    """Report segmentation heads that ignore another label than the data.

    Args:
        model: Config of the model; None for no model.
        classes: Class names of the data.
        ignore_index: Label that the data ignores; None if their labels are not pixels.
        pixels: Number of pixels with this label.
    """
    problems = []
    for path, head in _heads(model or {}) if ignore_index is not None else ():
        index = head.get('ignore_index', 255)
        if 0 <= index < len(classes):
            message = f'{path}.ignore_index = {index}: class {classes[index]!r} is never learned'
            problems.append(Problem(WARNING, 'ignored class', path, message))
        if index != ignore_index and pixels:
            message = f'{path}.ignore_index = {index}, but {pixels} pixels have the label '
            message += f'{ignore_index} that the data ignores; set ignore_index={ignore_index}'
            problems.append(Problem(ERROR, 'ignored label', path, message))
    return problems


def _heads(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the segmentation heads of a model of mmseg, each with its path."""
    for name in ('decode_head', 'auxiliary_head'):
        heads = model.get(name) or ()
        single = isinstance(heads, Mapping)
        for number, head in enumerate([heads] if single else heads):
            yield f'model.{name}' if single else f'model.{name}[{number}]', head


def require_outputs(cfg: Config) -> None:
    """Check that every head has an output for each class of the training data.

    Raises:
        ValueError: A head has fewer outputs, so its loss would meet a label that it does not know.
    """
    check_classes(cfg, ('train',))
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
