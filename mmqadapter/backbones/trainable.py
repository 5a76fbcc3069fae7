"""Select the trunk parameters that ``train=`` names."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import nn

from mmqadapter.backbones.select import compile_regex

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def parse_train(train: str | Sequence[str]) -> tuple[str, ...]:
    """Return the argument ``train`` as a tuple of presets and regexes.

    Raises:
        ValueError: It is neither a string nor a list of strings.
    """
    choices = (train,) if isinstance(train, str) else train
    if not isinstance(choices, (list, tuple)) or not all(isinstance(c, str) and c for c in choices):
        raise ValueError(
            f'train={train!r} is invalid: expected a preset or a regex, or a list of them.'
        )
    return tuple(choices)


def trainable_parameters(
    trunk: nn.Module, blocks: Sequence[str], unused: set[str], train: Sequence[str]
) -> dict[str, nn.Parameter]:
    """Return the parameters of ``trunk`` that any entry of ``train`` names.

    Args:
        trunk: The backbone.
        blocks: Full names of its blocks, in execution order.
        unused: Names of parameters that no output depends on; these are never returned.
        train: ``'partial-k'`` (the last k blocks), ``'bitfit'`` (biases and relative position
            biases; arXiv 2106.10199), ``'norm'`` (affine parameters of norms), or regexes that a
            parameter's name must contain.

    Raises:
        ValueError: An entry names no parameter.
    """
    selected: dict[str, nn.Parameter] = {}
    parameters = dict(trunk.named_parameters())
    for choice in train:
        names = [name for name in _names(trunk, blocks, choice) if name not in unused]
        if not names:
            raise ValueError(
                f'train={choice!r} matches no parameter of the trunk: use a preset '
                f"('partial-1', 'bitfit', 'norm') or a regex for names such as "
                f'{next(iter(parameters))!r}.'
            )
        selected.update({name: parameters[name] for name in names})
    return selected


def warn_of_exceptions(trunk: nn.Module, train: Sequence[str]) -> None:
    """Warn if a net's own ``frozen_exclude`` would train what a wrapper freezes (mmseg's SAN)."""
    excluded = getattr(trunk, 'frozen_exclude', None) or ['all']
    if 'all' not in excluded and not train:
        print_log(
            f'frozen_exclude={excluded} has no effect: a wrapper freezes the whole '
            f'{type(trunk).__name__}; FrozenBackbone(train=...) names what trains.',
            logger='current', level=logging.WARNING,
        )  # fmt: skip


def _names(trunk: nn.Module, blocks: Sequence[str], choice: str) -> list[str]:
    names = [name for name, _ in trunk.named_parameters()]
    if choice == 'norm':
        norms = [n for n, m in trunk.named_modules() if isinstance(m, NORMS)]
        return [name for name in names if name.rpartition('.')[0] in norms]
    if choice == 'bitfit':
        return [name for name in names if 'bias' in name.rpartition('.')[2]]
    partial = re.fullmatch(r'partial-(\d+)', choice)
    if partial:
        count = int(partial[1])
        last = blocks[-count:] if 0 < count <= len(blocks) else ()
        return [name for name in names if name.startswith(tuple(f'{block}.' for block in last))]
    pattern = compile_regex(choice, 'train')
    return [name for name in names if pattern.search(name)]
