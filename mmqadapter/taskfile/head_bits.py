"""How many bits the weights of neck and head take: patterns, and training with them."""

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
    forget_codes,
    output_dim,
    parametrize_weight,
    parametrized_weights,
    remove_parametrizations,
)
from mmqadapter.taskfile.task_state import TaskState

FLOAT_BITS = (16, 32)
# Where a training checkpoint keeps the bits of each layer.
KEY = 'mmqadapter_head_bits'
HeadBits = int | Mapping[str, int]


def check_head_bits(head_bits: HeadBits) -> None:
    """Refuse widths that no weight can be stored at.

    Raises:
        ValueError: Another number than 1, 2, 4, 8, 16 or 32, or a mapping that is empty, has a
            pattern that is no regex, or another number than 1, 2, 4, 8 or 16.
    """
    if not isinstance(head_bits, Mapping):
        if head_bits not in (*BITS, *FLOAT_BITS):
            raise ValueError(
                f'head_bits={head_bits!r} is not supported; use 32 or 16, or 8, 4, 2 or 1 to '
                'quantise.'
            )
        return
    if not head_bits:
        raise ValueError("no layer is named; give patterns such as {'decode_head.*': 4}.")
    for pattern, bits in head_bits.items():
        _compiled(pattern)
        if bits not in (*BITS, 16):
            raise ValueError(f'{pattern!r}: {bits!r} bits are not supported; use 1, 2, 4, 8 or 16.')


def layer_bits(model: nn.Module, head_bits: HeadBits) -> dict[str, int]:
    """Bits of each linear and (transposed) convolutional layer of neck and head, by name.

    Args:
        model: With a wrapped backbone.
        head_bits: One number for all layers, or numbers by regex: the last one that matches a
            layer's whole name counts, and 16 bits where none does.

    Raises:
        ValueError: See :func:`check_head_bits`; a pattern that matches no layer, or no wrapped
            backbone.
    """
    return bits_by_layer(TaskState.of(model).layers, head_bits)


def bits_by_layer(layers: Mapping[str, Layer], head_bits: HeadBits) -> dict[str, int]:
    """Return the bits of each of ``layers``, see :func:`layer_bits`.

    Raises:
        ValueError: See :func:`check_head_bits`; or a pattern that matches no layer.
    """
    check_head_bits(head_bits)
    if not isinstance(head_bits, Mapping):
        return dict.fromkeys(layers, head_bits)
    chosen = dict.fromkeys(layers, 16)
    for pattern, bits in head_bits.items():
        matching = [name for name in layers if _compiled(pattern).fullmatch(name)]
        if not matching:
            raise ValueError(
                f'{pattern!r} matches no linear or convolutional layer outside the trunk; '
                f'{_expected(layers)}.'
            )
        chosen.update(dict.fromkeys(matching, bits))
    return chosen


def train_quantized(model: nn.Module, bits: Mapping[str, int]) -> None:
    """Let ``model`` compute with what its task file will hold; takes earlier forms and codes away.

    Layers get quantisers, all else that trains outside the adapters is rounded to float16. The
    latent parameters stay the same objects, under the same names in the state dict.

    Args:
        model: With a wrapped backbone.
        bits: Of layers by name, see :func:`layer_bits`; empty for a float model.

    Raises:
        ValueError: A layer that ``model`` does not have, or no wrapped backbone.
    """
    remove_parametrizations(model)
    forget_codes(model)
    if not bits:
        return
    task = TaskState.of(model)
    for name, width in bits.items():
        layer = _layer(task.layers, name)
        if width in BITS:
            parametrize_weight(layer, 'weight', LayerQuantizer(width, output_dim(layer)))
    quantized = {id(a.latent) for a in parametrized_weights(model)}
    _round_rest(model, {id(t) for t in task.tensors.values() if t.is_floating_point()} - quantized)


def trained_bits(model: nn.Module) -> dict[str, int]:
    """Bits of each layer, by name, as :func:`train_quantized` set them; empty for a float model."""
    return {
        a.module: a.form.bits if isinstance(a.form, LayerQuantizer) else 16
        for a in parametrized_weights(model)
        if a.parameter == 'weight' and isinstance(a.holder, get_args(Layer))
    }


def check_spread(model: nn.Module) -> None:
    """Check that each layer with a quantiser has weights that can be quantised.

    Raises:
        ValueError: One has not, such as a layer that starts at zero.
    """
    for found in parametrized_weights(model):
        if isinstance(found.form, LayerQuantizer):
            with naming(found.module):
                found.form.encode(found.latent)


@contextmanager
def naming(layer: str) -> Iterator[None]:
    """Let errors of quantising a weight begin with the layer's name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{layer}: {error} Or give this layer 16 bits.') from error


def _round_rest(model: nn.Module, chosen: set[int]) -> None:
    for module in list(model.modules()):
        if isinstance(module, ParametrizationList):  # of somebody else's parametrisation
            continue
        for name, parameter in list(module._parameters.items()):
            if id(parameter) in chosen:
                parametrize_weight(module, name, HalfRounding())


def _layer(layers: Mapping[str, Layer], name: str) -> Layer:
    if name not in layers:
        raise ValueError(
            f'the weights are quantised in {name!r}, which the model does not have; build it with '
            'the config that they came from.'
        )
    return layers[name]


def _expected(layers: Mapping[str, Layer]) -> str:
    if not layers:
        return 'there is none'
    names = list(layers)
    ends = dict.fromkeys([names[0], names[-1]])
    return f'a regex has to match a whole name, such as {" or ".join(map(repr, ends))}'


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f'{pattern!r} is no regular expression: {error}.') from error
