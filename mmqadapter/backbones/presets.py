"""Which trunk parameters a choice of ``train`` names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from mmqadapter.backbones.block_table import compiled

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def trainable_parameters(
    trunk: nn.Module, blocks: Sequence[str], idle: set[str], choices: Sequence[str]
) -> dict[str, nn.Parameter]:
    """Parameters of ``trunk`` that any of ``choices`` names.

    Args:
        trunk: The backbone.
        blocks: Full names of its blocks, in execution order.
        idle: Names of parameters that no output depends on; never chosen.
        choices: ``'partial-k'`` (the last k blocks), ``'bitfit'`` (biases and relative position
            biases; arXiv 2106.10199), ``'norm'`` (affine parameters of norms), or regexes that a
            parameter's name must contain.

    Raises:
        ValueError: A choice names no parameter.
    """
    chosen: dict[str, nn.Parameter] = {}
    parameters = dict(trunk.named_parameters())
    for choice in choices:
        names = [name for name in _names(trunk, blocks, choice) if name not in idle]
        if not names:
            raise ValueError(
                f'train={choice!r} matches no parameter of the trunk; use a preset '
                f"('partial-1', 'bitfit', 'norm') or a regex for names such as "
                f'{next(iter(parameters))!r}.'
            )
        chosen.update({name: parameters[name] for name in names})
    return chosen


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
    pattern = compiled(choice, 'train')
    return [name for name in names if pattern.search(name)]
