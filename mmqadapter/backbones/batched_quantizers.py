"""All quantisers of a wrapped backbone in a few calls a step, not one for each matrix."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmqadapter.quant import quantize_together

# What nets call it that a block computes its forward pass again for backward.
RECOMPUTING = ('with_cp', 'grad_checkpointing')


def quantize_adapters(wrapper: Any, args: tuple) -> None:
    """Pre-hook of a wrapper: quantise the weights of all its adapters.

    Of blocks that recompute, each part of the graph is run alone, which a call for several blocks
    does not survive; then those on the highway alone, if there is one.
    """
    adapters = wrapper.adapters
    if not adapters:
        return
    if not recomputes(wrapper.trunk):
        quantize_together(adapters)
    elif 'highway' in adapters:
        quantize_together(adapters['highway'])


def recomputes(trunk: nn.Module) -> bool:
    """Whether a trunk uses activation checkpointing, its own or mmengine's."""
    # A look-up in the dictionary: a module's own for what it lacks costs more than the rest.
    return any(
        any(vars(module).get(name) for name in RECOMPUTING)
        or hasattr(vars(module).get('forward'), '__wrapped__')  # turn_on_activation_checkpointing
        for module in trunk.modules()
    )
