"""Quantize all weights of a wrapped backbone in a few calls a step, not one for each matrix."""

from __future__ import annotations

from torch import nn

from mmqadapter.quant import quantize_batched, quantized_weights
from mmqadapter.taskfile.task_state import find_backbone

# Attributes by which nets enable activation checkpointing.
RECOMPUTING = ('with_cp', 'grad_checkpointing')


def quantize_adapters(adapters: nn.ModuleDict, trunk: nn.Module) -> None:
    """Quantize the weights of all adapters beside or inside ``trunk``, for this forward.

    Where blocks are recomputed in backward, each part of the graph is run by itself, which a call
    for several blocks does not survive: then only those on the highway, if there is one.
    """
    if next(quantized_weights(adapters), None) is None:
        return
    if not recomputes(trunk):
        quantize_batched(adapters)
    elif 'highway' in adapters:
        quantize_batched(adapters['highway'])


def quantize_beside_backbone(model: nn.Module) -> None:
    """Quantize the layers of neck and head that train at few bits, until the next backward pass.

    A head that several levels of a pyramid share would otherwise quantize its weights for each.
    """
    backbone = find_backbone(model)
    for part in model.children():
        beside = all(module is not backbone for module in part.modules())
        if beside and not recomputes(part):
            quantize_batched(part)
            _read_until_backward(part)


def _read_until_backward(part: nn.Module) -> None:
    """Let layers quantize anew once gradients have passed, which frees the graph of the values."""
    for _, quantizer, latent in quantized_weights(part):
        value = quantizer.cached.get(latent)
        if value is not None and value.requires_grad:
            value.register_hook(quantizer.cached.release)


def recomputes(net: nn.Module) -> bool:
    """Return whether a net uses activation checkpointing, its own or mmengine's."""
    # vars(): a module's own attribute lookup costs more than all the rest.
    return any(
        any(vars(module).get(name) for name in RECOMPUTING)
        or hasattr(vars(module).get('forward'), '__wrapped__')  # turn_on_activation_checkpointing
        for module in net.modules()
    )
