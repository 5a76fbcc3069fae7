"""Neck and head as a task file holds them: from a model, and into one."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmqadapter.quant import (
    BITS,
    Layer,
    LayerQuantizer,
    PackedWeight,
    forget_codes,
    keep_codes,
    kept_codes,
    latent_of,
    output_dim,
    parametrized_weights,
    remove_parametrizations,
)
from mmqadapter.taskfile.head_bits import HeadBits, bits_by_layer, naming
from mmqadapter.taskfile.task_state import TaskState

Entry = Tensor | PackedWeight


@torch.no_grad()
def head_entries(task: TaskState, head_bits: HeadBits) -> tuple[dict[str, Entry], int]:
    """Return the tensors of ``task`` in the form in which they are stored.

    A weight that has codes (of training, or of the task file that it came from) keeps them, unless
    fewer bits are asked for. Buffers stay as they are.

    Args:
        task: State of the model to save.
        head_bits: See :mod:`mmqadapter.taskfile.head_bits`.

    Returns:
        Entries by name, and the width of those parameters that are not quantised: 32 where that
        is asked for and no weight is quantised, else 16.

    Raises:
        ValueError: As :func:`layer_bits`, and for a parameter with NaN or inf at 16 bits or less.
    """
    requested = bits_by_layer(task.layers, head_bits)
    forms = {
        id(latent_of(layer, 'weight')): _packed(name, layer, requested[name])
        for name, layer in task.layers.items()
    }
    packed = {key: form for key, form in forms.items() if form is not None}
    narrow = head_bits != 32 or packed or any(True for _ in parametrized_weights(task.model))
    width = 16 if narrow else 32
    tensors = task.tensors.items()
    return {name: packed.get(id(t)) or _as_float(name, t, width) for name, t in tensors}, width


def check_head(task: TaskState, entries: Mapping[str, Entry], source: str) -> None:
    """Refuse entries that are not of this model.

    Raises:
        ValueError: Names, shapes or kinds of layers differ; ``source`` says where they came from.
    """
    for name in sorted(entries.keys() ^ task.tensors.keys()):
        owner = 'the file' if name in entries else 'the model'
        shown = repr(name[:200])
        raise ValueError(f'only {owner} has {shown}; build the model with the config of {source}.')
    dims = {key: output_dim(layer) for key, layer in task.layer_of_weight().items()}
    for name, entry in entries.items():
        target = task.tensors[name]
        if tuple(entry.shape) != tuple(target.shape):
            raise ValueError(
                f'{name} has shape {tuple(entry.shape)} in {source} and '
                f'{tuple(target.shape)} in the model; is the number of classes the same?'
            )
        dim = dims.get(id(target))
        if isinstance(entry, PackedWeight) and entry.output_dim != dim:
            raise ValueError(
                f'{name} is quantised in {source} as another kind of layer than it is in the '
                'model; build the model with the config that the task came from.'
            )


@torch.no_grad()
def put_head(task: TaskState, entries: Mapping[str, Entry], trainable: bool) -> None:
    """Load entries that passed :func:`check_head` into the model.

    Args:
        task: State of the model to load into.
        entries: See :func:`head_entries`.
        trainable: False gives a float model with the exact weights, which remember their codes;
            True gives latent weights, quantised as the model was before.
    """
    layers = task.layer_of_weight()
    if not trainable:
        remove_parametrizations(task.model)
    forget_codes(task.model)
    forms = {id(a.latent): a.form for a in parametrized_weights(task.model)}
    trunk = {id(parameter) for parameter in task.backbone.trunk.parameters()}
    for name, target in task.tensors.items():
        entry = entries[name]
        target.copy_(_value(entry, forms.get(id(target))))
        if isinstance(entry, PackedWeight) and not trainable:
            keep_codes(layers[id(target)], entry)
            # As in training, where the quantised weight is no leaf: PyTorch's choice of a matrix
            # product depends on it, and so does the last bit. In a trunk it says what is frozen.
            target.requires_grad_(id(target) in trunk)


def _packed(name: str, layer: Layer, asked: int) -> PackedWeight | None:
    own = _own_codes(name, layer)
    if own is not None and own.bits <= asked:
        return own
    if asked not in BITS:
        return None
    try:
        return LayerQuantizer(asked, output_dim(layer)).pack(layer.weight)
    except ValueError as error:
        _warn(f'{name} keeps 16 bits: {str(error).partition(" (mean")[0]}.')
        return None


def _own_codes(name: str, layer: Layer) -> PackedWeight | None:
    """Codes that the layer trained with, or came with."""
    form = next((a.form for a in parametrized_weights(layer) if a.parameter == 'weight'), None)
    if isinstance(form, LayerQuantizer):
        with naming(name):
            return form.pack(latent_of(layer, 'weight'))
    return kept_codes(layer)


def _as_float(name: str, tensor: Tensor, width: int) -> Tensor:
    # A copy, since safetensors refuses tensors that share memory, as tied heads do.
    full = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if width == 32 or not isinstance(tensor, nn.Parameter) or not full.is_floating_point():
        return full
    if not bool(full.isfinite().all()):
        raise ValueError(f'{name} holds NaN or inf, which is no result; save it with head_bits=32.')
    half = full.half()
    if bool(half.isfinite().all()):
        return half
    _warn(f'{name} keeps 32 bits: float16 cannot hold {float(full.abs().max()):.3g}.')
    return full


def _value(entry: Entry, form: nn.Module | None) -> Tensor:
    """What a parameter with this storage form becomes."""
    if not isinstance(entry, PackedWeight):
        return entry
    if isinstance(form, LayerQuantizer) and form.bits == entry.bits:
        return form.latent(entry.encoded())
    return entry.decode()


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
