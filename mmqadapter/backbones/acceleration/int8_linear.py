"""Linear layers of a frozen trunk whose weights are 8-bit codes (torchao's weight-only int8)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from mmqadapter.backbones.acceleration.autocast import AutocastState
from mmqadapter.backbones.acceleration.class_swap import FastForward, specialize

SCALE = 'weight_scale'


class Int8Linear(FastForward):
    """A frozen linear layer: int8 codes (C_out, C_in), a float32 scale for each output channel.

    Codes and scales are buffers, so that what moves, copies or saves modules does it with these,
    while what takes the mean or the average of parameters, as mmengine's ``init_weights`` does,
    meets none that has no mean. A float weight in a checkpoint is encoded as it is loaded.
    """

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., C_in) to (..., C_out), in the dtype of autocast or of ``x``."""
        autocast = AutocastState.capture(x.device.type)
        if autocast.enabled and autocast.dtype is not None:
            x = x.to(autocast.dtype)
        output = _WeightOnly.apply(x, self.weight, self.weight_scale)
        return output if self.bias is None else output + self.bias.to(output.dtype)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        given = state_dict.get(f'{prefix}weight')
        if given is not None and given.is_floating_point():
            codes, scale = _encode(given)
            state_dict.update({f'{prefix}weight': codes, f'{prefix}{SCALE}': scale})
        super()._load_from_state_dict(state_dict, prefix, *args)


def store_int8(layer: nn.Linear) -> None:
    """Store the weight of a frozen layer in 8 bits, and compute with it from now on.

    Raises:
        ValueError: torchao is not installed.
    """
    codes, scale = _encode(layer.weight.detach())
    del layer.weight
    layer.register_buffer('weight', codes)
    layer.register_buffer(SCALE, scale)
    specialize(layer, Int8Linear)


def is_float_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a linear layer that is called, with a weight of numbers."""
    # PyTorch's packed attention reads the weight of its output layer and never calls it.
    other = (NonDynamicallyQuantizableLinear, Int8Linear)
    return isinstance(module, nn.Linear) and not isinstance(module, other)


def code_names(module: nn.Module) -> Iterator[str]:
    """Names of the weights in a module that are codes."""
    layers = ((n, m) for n, m in module.named_modules() if isinstance(m, Int8Linear))
    return (f'{name}.weight' if name else 'weight' for name, _ in layers)


def decoded(state: Mapping[str, Tensor], keep: Container[str] = ()) -> dict[str, Tensor]:
    """``state`` with the float weights that its codes stand for, in place of codes and scales.

    Args:
        state: Tensors by name.
        keep: Names of scales that stay, with their codes.
    """
    plain = dict(state)
    for key in [key for key in state if key.endswith(f'.{SCALE}') and key not in keep]:
        weight = key.removesuffix('_scale')
        if weight in state and state[weight].dtype == torch.int8:
            plain[weight] = state[weight].float() * plain.pop(key)
    return plain


class _WeightOnly(torch.autograd.Function):
    """x W^T for codes of W; keeps for backward the codes alone, where autograd would W as well."""

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
    """Codes (C_out, C_in) and scales (C_out, 1) of a float weight."""
    torchao = _torchao()
    encoded = torchao.Int8Tensor.from_hp(weight.float(), torchao.PerRow())
    return encoded.qdata, encoded.scale


def _torchao() -> Any:
    try:
        import torchao.quantization  # seconds, and needed for this alone
    except ImportError:
        raise ValueError(
            "trunk.dtype='int8' is invalid here: expected torchao to be installed; run "
            'pip install "torchao>=0.18", or use bfloat16.'
        ) from None
    return torchao.quantization
