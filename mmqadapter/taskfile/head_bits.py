"""Bits of neck and head: what ``head_bits`` means, its validation, and training with them.

``head_bits`` is the width in bits of a stored parameter outside the adapters: in neck and head, and
in the trunk where some of it trains. Every ``head_bits`` of this package has this meaning, and
:func:`check_head_bits` is its only validation:

- 32 or 16: parameters are stored as float32 or float16.
- 8, 4, 2 or 1: weights of linear and (transposed) convolutional layers are quantized to so many
  bits, with mean and std of each output channel as float16. All other parameters are float16.
- Bits by regex, such as ``{'decode_head.*': 4, 'decode_head.conv_seg': 8}``: as before for each
  layer, with the bits (16, 8, 4, 2 or 1) of the last regex that matches its whole name. Layers
  that none matches, and all other parameters, are float16.

A weight that trained with fewer bits, or came from a task file with fewer, keeps its codes.
Parameters with a value beyond float16 stay float32. Buffers are stored as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import get_args

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from mmqadapter.quant import (
    BITS,
    HalfRounding,
    Layer,
    LayerQuantizer,
    clear_codes,
    output_dim,
    parametrize_weight,
    parametrized_weights,
    remove_parametrizations,
)
from mmqadapter.taskfile.task_state import TaskState

FLOAT_BITS = (16, 32)
# Key in a training checkpoint for the bits of each layer.
KEY = 'mmqadapter_head_bits'
HeadBits = int | Mapping[str, int]


def check_head_bits(head_bits: HeadBits) -> None:
    """Check ``head_bits`` as far as that is possible without a model.

    Raises:
        ValueError: A number other than 1, 2, 4, 8, 16 or 32; or a mapping that is empty, has an
            invalid regex, or a number other than 1, 2, 4, 8 or 16.
    """
    if not isinstance(head_bits, Mapping):
        if head_bits not in (*BITS, *FLOAT_BITS):
            raise ValueError(
                f'head_bits={head_bits!r} is invalid: expected 32 or 16 for float weights, or 8, '
                '4, 2 or 1 to quantize them.'
            )
        return
    if not head_bits:
        raise ValueError(
            'head_bits={} is invalid, no layer is named: expected bits by regex, such as '
            "{'decode_head.*': 4}."
        )
    for pattern, bits in head_bits.items():
        _compile(pattern)
        if bits not in (*BITS, 16):
            raise ValueError(
                f'head_bits={{{pattern!r}: {bits!r}}} is invalid: expected 1, 2, 4, 8 or 16 bits.'
            )


def layer_bits(model: nn.Module, head_bits: HeadBits) -> dict[str, int]:
    """Return the bits of each layer of a model's task, by name; see :func:`match_bits`.

    Args:
        model: A model with a wrapped backbone.
        head_bits: See the module's docstring.

    Raises:
        ValueError: As :func:`match_bits`, or ``model`` has no wrapped backbone.
    """
    return match_bits(TaskState.of(model).layers, head_bits)


def match_bits(layers: Mapping[str, Layer], head_bits: HeadBits) -> dict[str, int]:
    """Return the bits of each of ``layers`` by name, see :attr:`TaskState.layers`.

    Raises:
        ValueError: As :func:`check_head_bits`, or a regex matches no layer.
    """
    check_head_bits(head_bits)
    if not isinstance(head_bits, Mapping):
        return dict.fromkeys(layers, head_bits)
    matched = dict.fromkeys(layers, 16)
    for pattern, bits in head_bits.items():
        names = [name for name in layers if _compile(pattern).fullmatch(name)]
        if not names:
            raise ValueError(
                f'{pattern!r} matches no linear or convolutional layer outside the frozen trunk; '
                f'{_expected(layers)}.'
            )
        matched.update(dict.fromkeys(names, bits))
    return matched


def train_quantized(model: nn.Module, bits: Mapping[str, int]) -> None:
    """Make ``model`` compute with the values that its task file will hold.

    Layers get quantizers, and all else that trains outside the adapters is rounded to float16. The
    latent parameters stay the same objects, under the same names in the state dict. Earlier
    parametrizations and remembered codes are removed.

    Args:
        model: A model with a wrapped backbone.
        bits: Bits of layers by name, see :func:`layer_bits`; empty for a float model.

    Raises:
        ValueError: ``bits`` names a layer that ``model`` does not have, or ``model`` has no wrapped
            backbone.
    """
    remove_parametrizations(model)
    clear_codes(model)
    if not bits:
        return
    task = TaskState.of(model)
    for name, width in bits.items():
        layer = _layer(task.layers, name)
        if width in BITS:
            parametrize_weight(layer, 'weight', LayerQuantizer(width, output_dim(layer)))
    quantized = {id(a.latent) for a in parametrized_weights(model)}
    floats = {id(t) for t in task.tensors.values() if t.is_floating_point()}
    _round_to_half(model, floats - quantized)


def trained_bits(model: nn.Module) -> dict[str, int]:
    """Return the bits of each layer that :func:`train_quantized` set; empty for a float model."""
    return {
        a.module: a.parametrization.bits if isinstance(a.parametrization, LayerQuantizer) else 16
        for a in parametrized_weights(model)
        if a.parameter == 'weight' and isinstance(a.holder, get_args(Layer))
    }


def check_spread(model: nn.Module) -> None:
    """Check that the weights of every layer with a quantizer can be quantized.

    Raises:
        ValueError: A channel of a weight is constant, as in a layer that is initialized with zeros,
            or holds NaN or inf; the layer is named.
    """
    for weight in parametrized_weights(model):
        if isinstance(weight.parametrization, LayerQuantizer):
            with layer_named(weight.module):
                weight.parametrization.encode(weight.latent)


@contextmanager
def layer_named(layer: str) -> Iterator[None]:
    """Put the layer's name before the errors of quantizing its weight."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{layer}: {error} Or give this layer 16 bits.') from error


def _round_to_half(model: nn.Module, parameters: set[int]) -> None:
    """Parametrize the parameters with these ids to compute with float16 values."""
    for module in list(model.modules()):
        if isinstance(module, ParametrizationList):  # a parametrization that is not ours
            continue
        for name, parameter in list(module._parameters.items()):
            if id(parameter) in parameters:
                parametrize_weight(module, name, HalfRounding())


def _layer(layers: Mapping[str, Layer], name: str) -> Layer:
    if name not in layers:
        raise ValueError(
            f'the weights are quantized in {name!r}, which the model does not have; build it with '
            'the config that they were trained with.'
        )
    return layers[name]


def _expected(layers: Mapping[str, Layer]) -> str:
    if not layers:
        return 'the model has none'
    names = list(layers)
    examples = dict.fromkeys([names[0], names[-1]])
    return f'a regex has to match a whole name, such as {" or ".join(map(repr, examples))}'


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f'{pattern!r} is not a regular expression: {error}.') from error
