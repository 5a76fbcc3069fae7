"""Options of a frozen trunk's storage and computation: one object for all wrappers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from mmengine.device import get_device

DTYPES = {
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
    'int8': torch.int8,
}
AUTO = 'auto'
CHOICES: dict[str, tuple[Any, ...]] = {
    'dtype': tuple(DTYPES),
    'attention': ('stock', 'fused', AUTO),
    'mlp': ('stock', 'chunked', AUTO),
    'prepacked': (False, True, AUTO),
}
# What `auto` means on a CPU, where each pays (docs/performance.md); elsewhere the first choice.
ON_CPU = {'attention': 'fused', 'mlp': 'chunked', 'prepacked': True}


@dataclass(frozen=True)
class TrunkOptions:
    """Options of a frozen trunk's storage and computation; by default the net's code in float32.

    All options change outputs within rounding only (``dtype`` aside) and change neither keys, nor
    checkpoints, nor task files, except that whole checkpoints of an ``int8`` trunk hold codes and
    scales, which any trunk reads. ``'auto'`` chooses what is measured to pay on the device at hand.

    Attributes:
        dtype: ``'float32'``; ``'bfloat16'`` or ``'float16'``: the frozen matrices of the blocks are
            stored in it and the blocks run under autocast; ``'int8'``: linear layers are stored in
            8 bits (torchao) and the rest as in ``'bfloat16'``. The residual stream, norms,
            adapters, whatever trains, and the output maps stay float32. Gradients of in-path
            adapters cross the trunk in this dtype: ``'float16'`` then needs a scaled loss.
        attention: ``'stock'``, or ``'fused'``: through ``scaled_dot_product_attention``.
        mlp: ``'stock'``, or ``'chunked'``: on a CPU and without gradients, MLPs run over a thousand
            tokens at a time, which stay in the cache.
        prepacked: On a CPU, frozen linear layers multiply with a copy of their weight that is laid
            out for oneDNN; it takes as much memory again as these weights.

    Raises:
        ValueError: A value that an option does not have.
    """

    dtype: str = 'float32'
    attention: str = 'stock'
    mlp: str = 'stock'
    prepacked: bool | str = False

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f'trunk.{name}={value!r} is invalid: expected one of {choices}.')

    @classmethod
    def parse(cls, trunk: Mapping[str, Any] | None) -> TrunkOptions:
        """Return the options of a config; None for the defaults.

        Raises:
            ValueError: ``trunk`` is not a dict, or has an unknown option or value.
        """
        known = [field.name for field in fields(cls)]
        if trunk is not None and not (isinstance(trunk, Mapping) and set(trunk) <= set(known)):
            raise ValueError(f'trunk={trunk!r} is invalid: expected a dict with some of {known}.')
        return cls(**(trunk or {})).for_device(get_device())

    def for_device(self, device: str) -> TrunkOptions:
        """Return these options with every ``'auto'`` replaced by the choice for ``device``."""
        chosen = ON_CPU if device == 'cpu' else {}
        values = asdict(self)
        auto = [name for name, value in values.items() if value == AUTO]
        return TrunkOptions(**{**values, **{n: chosen.get(n, CHOICES[n][0]) for n in auto}})

    def without_chunks(self, requested: Mapping[str, Any] | None, net: str) -> TrunkOptions:
        """Return these options for a net whose MLPs mix tokens.

        Args:
            requested: The config that these options are of.
            net: Name of the net.

        Raises:
            ValueError: ``requested`` asks for chunks by name.
        """
        if (requested or {}).get('mlp') == 'chunked':
            raise ValueError(
                f"trunk.mlp='chunked' is invalid for {net}, whose MLP mixes tokens: expected "
                "'stock' or 'auto'."
            )
        return replace(self, mlp='stock')

    @property
    def torch_dtype(self) -> torch.dtype:
        """Storage type of the frozen matrices."""
        return DTYPES[self.dtype]

    def __str__(self) -> str:
        return ', '.join(f'{name}={value}' for name, value in asdict(self).items())
