"""All quantisers of a wrapped backbone in a few calls a step, not one for each matrix."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmqadapter.quant import quantize_batched, quantized_weights
from mmqadapter.taskfile.task_state import find_backbone

# What nets call it that a block computes its forward pass again for backward.
RECOMPUTING = ('with_cp', 'grad_checkpointing')


def quantize_adapters(wrapper: Any, args: tuple) -> None:
    """Pre-hook of a wrapper: quantise the weights of all its adapters.

    Of blocks that recompute, each part of the graph is run alone, which a call for several blocks
    does not survive; then those on the highway alone, if there is one.
    """
    adapters = wrapper.adapters
    if next(quantized_weights(adapters), None) is None:
        return
    if not recomputes(wrapper.trunk):
        quantize_batched(adapters)
    elif 'highway' in adapters:
        quantize_batched(adapters['highway'])


def quantize_beside_backbone(model: nn.Module) -> None:
    """Quantise the layers of neck and head that train at few bits, until the next backward pass.

    A head that several maps of a pyramid share would quantise its weights for each of them.

    Raises:
        ValueError: A weight is constant, or holds NaN or inf.
    """
    backbone = find_backbone(model)
    for part in model.children():
        beside = all(module is not backbone for module in part.modules())
        if beside and not recomputes(part):
            quantize_batched(part)
            _read_until_backward(part)


def _read_until_backward(part: nn.Module) -> None:
    """Let layers quantise anew once gradients have passed, which frees the graph of the values."""
    for _, quantizer, latent in quantized_weights(part):
        value = quantizer.cached.get(latent)
        if value is not None and value.requires_grad:
            value.register_hook(quantizer.cached.release)


def recomputes(trunk: nn.Module) -> bool:
    """Whether a trunk uses activation checkpointing, its own or mmengine's."""
    # A look-up in the dictionary: a module's own for what it lacks costs more than the rest.
    return any(
        any(vars(module).get(name) for name in RECOMPUTING)
        or hasattr(vars(module).get('forward'), '__wrapped__')  # turn_on_activation_checkpointing
        for module in trunk.modules()
    )
