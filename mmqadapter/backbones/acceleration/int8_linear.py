"""Linear layers of a frozen trunk whose weights are 8-bit codes (torchao's weight-only int8)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize
from mmqadapter.utils.autocast import AutocastState

SCALE = 'weight_scale'


class Int8Linear(FastForward):
    """Frozen linear layer with int8 codes (C_out, C_in) and a float32 scale per output channel.

    Codes and scales are buffers, so that they move, copy and save with the module. They are not
    parameters, because mmengine's ``init_weights`` takes the mean of every parameter, which
    integers do not have. Float weights in a checkpoint are encoded when they are loaded.
    """

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C_in) to (..., C_out), in the dtype of autocast or else of ``x``."""
        autocast = AutocastState.capture(x.device.type)
        if autocast.enabled and autocast.dtype is not None:
            x = x.to(autocast.dtype)
        output = _WeightOnly.apply(x, self.weight, self.weight_scale)
        return output if self.bias is None else output + self.bias.to(output.dtype)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        weight = state_dict.get(f'{prefix}weight')
        if weight is not None and weight.is_floating_point():
            codes, scale = _encode(weight)
            state_dict.update({f'{prefix}weight': codes, f'{prefix}{SCALE}': scale})
        super()._load_from_state_dict(state_dict, prefix, *args)


def store_int8(layer: nn.Linear) -> None:
    """Store the weight of a frozen layer in 8 bits, in place, and compute with it.

    Raises:
        ValueError: torchao is not installed.
    """
    codes, scale = _encode(layer.weight.detach())
    del layer.weight
    layer.register_buffer('weight', codes)
    layer.register_buffer(SCALE, scale)
    specialize(layer, Int8Linear)


def is_float_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Return whether ``module`` is a linear layer with a float weight that is called."""
    # `nn.MultiheadAttention` reads the weight of its output layer and never calls the layer.
    excluded = (NonDynamicallyQuantizableLinear, Int8Linear)
    return isinstance(module, nn.Linear) and not isinstance(module, excluded)


def code_names(module: nn.Module) -> Iterator[str]:
    """Return the names of all weights in a module that are int8 codes."""
    layers = ((n, m) for n, m in module.named_modules() if isinstance(m, Int8Linear))
    return (f'{name}.weight' if name else 'weight' for name, _ in layers)


def decode_int8(state: Mapping[str, Tensor], keep: Container[str] = ()) -> dict[str, Tensor]:
    """Return a state dict with float weights in place of int8 codes and their scales.

    Args:
        state: Tensors by name.
        keep: Names of scales that stay, together with their codes.
    """
    plain = dict(state)
    for key in [key for key in state if key.endswith(f'.{SCALE}') and key not in keep]:
        weight = key.removesuffix('_scale')
        if weight in state and state[weight].dtype == torch.int8:
            plain[weight] = state[weight].float() * plain.pop(key)
    return plain


class _WeightOnly(torch.autograd.Function):
    """x W^T for codes of W; only the codes are saved for backward, not the decoded W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(codes, scale)
        return linear(x, _torchao().Int8Tensor(codes, scale, [1, codes.shape[1]], x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        codes, scale = ctx.saved_tensors
        return (grad * scale.flatten().to(grad.dtype)) @ codes.to(grad.dtype), None, None


def _encode(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes (C_out, C_in) and scales (C_out, 1) of a float weight."""
    torchao = _torchao()
    encoded = torchao.Int8Tensor.from_hp(weight.float(), torchao.PerRow())
    return encoded.qdata, encoded.scale


def _torchao() -> Any:
    try:
        import torchao.quantization  # here, since it takes seconds and only int8 needs it
    except ImportError:
        raise ValueError(
            "trunk.dtype='int8' is invalid here: expected torchao to be installed; run "
            'pip install "torchao>=0.18", or use bfloat16.'
        ) from None
    return torchao.quantization
