"""Neck and head in the form in which a task file stores them: encoding, checking, loading."""

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
    attach_codes,
    clear_codes,
    latent_of,
    output_dim,
    parametrized_weights,
    remove_parametrizations,
    stored_codes,
)
from mmqadapter.taskfile.head_bits import HeadBits, layer_named, match_bits
from mmqadapter.taskfile.task_state import TaskState

Entry = Tensor | PackedWeight


@torch.no_grad()
def encode_head(task: TaskState, head_bits: HeadBits) -> tuple[dict[str, Entry], int]:
    """Return the tensors of ``task`` in the form in which they are stored.

    A weight that has codes (from training, or from the task file that it came from) keeps them,
    unless fewer bits are requested. Buffers stay as they are.

    Args:
        task: State of the model to save.
        head_bits: See :mod:`mmqadapter.taskfile.head_bits`.

    Returns:
        Entries by name, and the width in bits of those parameters that are not quantized: 32 if
        that is requested and no weight is quantized, else 16.

    Raises:
        ValueError: As :func:`match_bits`; or a parameter to store with 16 bits or fewer holds NaN
            or inf.
    """
    requested = match_bits(task.layers, head_bits)
    weights = {
        id(latent_of(layer, 'weight')): _packed_weight(name, layer, requested[name])
        for name, layer in task.layers.items()
    }
    packed = {key: weight for key, weight in weights.items() if weight is not None}
    narrow = head_bits != 32 or packed or any(True for _ in parametrized_weights(task.model))
    width = 16 if narrow else 32
    tensors = task.tensors.items()
    return {name: packed.get(id(t)) or _float_tensor(name, t, width) for name, t in tensors}, width


def check_head(task: TaskState, entries: Mapping[str, Entry], source: str) -> None:
    """Check that entries fit the model, so that :func:`load_head` can load them.

    Args:
        task: State of the model to load into.
        entries: See :func:`encode_head`.
        source: Where the entries came from, for messages.

    Raises:
        ValueError: Names, shapes or kinds of layers differ.
    """
    _check_names(task.tensors, entries, source)
    _check_ties(task, entries, source)
    dims = {key: output_dim(layer) for key, layer in task.layer_of_weight().items()}
    for name, target in _shared(task, entries):
        entry = entries[name]
        if tuple(entry.shape) != tuple(target.shape):
            raise ValueError(
                f'{name} has shape {tuple(entry.shape)} in {source} and '
                f'{tuple(target.shape)} in the model; is the number of classes the same?'
            )
        dim = dims.get(id(target))
        if isinstance(entry, PackedWeight) and entry.output_dim != dim:
            raise ValueError(
                f'{name} is quantized in {source} as another kind of layer than it is in the '
                'model; build the model with the config that the task was trained with.'
            )


def _check_names(tensors: Mapping[str, Tensor], entries: Mapping[str, Entry], source: str) -> None:
    """Check that each tensor and each entry has a name in both; tied ones may have more names.

    A model may tie modules in its first training step (mmdet's DDQ does), or only while it trains.
    """
    both = tensors.keys() & entries.keys()
    matched = {id(owner[name]) for owner in (tensors, entries) for name in both}
    for name in sorted(tensors.keys() ^ entries.keys()):
        owner, thing = ('file', entries) if name in entries else ('model', tensors)
        if id(thing[name]) not in matched:
            raise ValueError(
                f'only the {owner} has {name[:200]!r}; build the model with the config of {source}.'
            )


def _check_ties(task: TaskState, entries: Mapping[str, Entry], source: str) -> None:
    """Check that the names which share a tensor in the model have one value in the file."""
    for name, first in task.tied_names().items():
        values = [_float_value(entries[n]) for n in (name, first) if n in entries]
        if len(values) == 2 and not torch.equal(*values):
            raise ValueError(
                f'{name} and {first} are one tensor in the model and differ in {source}; build the '
                'model with the config that the task was trained with.'
            )


@torch.no_grad()
def load_head(task: TaskState, entries: Mapping[str, Entry], trainable: bool) -> None:
    """Load entries that passed :func:`check_head` into the model.

    Args:
        task: State of the model to load into.
        entries: See :func:`encode_head`.
        trainable: False gives a float model with the exact weights, which remember their codes.
            True gives latent weights, quantized as the model was before.
    """
    layers = task.layer_of_weight()
    if not trainable:
        remove_parametrizations(task.model)
    clear_codes(task.model)
    forms = {id(a.latent): a.parametrization for a in parametrized_weights(task.model)}
    trunk = {id(parameter) for parameter in task.backbone.trunk.parameters()}
    for name, target in _shared(task, entries):
        entry = entries[name]
        target.copy_(_loaded_value(entry, forms.get(id(target))))
        if isinstance(entry, PackedWeight) and not trainable:
            attach_codes(layers[id(target)], entry)
            # Without gradient, as the value of a quantized weight in training is not a leaf:
            # PyTorch chooses the kernel of a matrix product by it, and the kernel decides the last
            # bit. In the trunk `requires_grad` tells what trains, so there it stays True.
            target.requires_grad_(id(target) in trunk)


def _packed_weight(name: str, layer: Layer, requested: int) -> PackedWeight | None:
    """Return the codes of a layer's weight; None if it is stored as floats."""
    present = _present_codes(name, layer)
    if present is not None and present.bits <= requested:
        return present
    if requested not in BITS:
        return None
    try:
        return LayerQuantizer(requested, output_dim(layer)).pack(layer.weight)
    except ValueError as error:
        _warn(f'{name} keeps 16 bits: {str(error).partition(" (mean")[0]}.')
        return None


def _present_codes(name: str, layer: Layer) -> PackedWeight | None:
    """Return the codes that the layer trains with, or was loaded with."""
    form = next(
        (a.parametrization for a in parametrized_weights(layer) if a.parameter == 'weight'), None
    )
    if isinstance(form, LayerQuantizer):
        with layer_named(name):
            return form.pack(latent_of(layer, 'weight'))
    return stored_codes(layer)


def _float_tensor(name: str, tensor: Tensor, width: int) -> Tensor:
    # A copy: safetensors refuses tensors that share memory, as those of tied heads do.
    full = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if width == 32 or not isinstance(tensor, nn.Parameter) or not full.is_floating_point():
        return full
    if not bool(full.isfinite().all()):
        raise ValueError(
            f'{name} holds NaN or inf: expected finite values; save it with head_bits=32.'
        )
    half = full.half()
    if bool(half.isfinite().all()):
        return half
    _warn(f'{name} keeps 32 bits: float16 cannot hold {float(full.abs().max()):.3g}.')
    return full


def _shared(task: TaskState, entries: Mapping[str, Entry]) -> list[tuple[str, Tensor]]:
    """Return names and tensors of the model that the file has under the same name."""
    return [(name, task.tensors[name]) for name in entries if name in task.tensors]


def _float_value(entry: Entry) -> Tensor:
    return entry.decode() if isinstance(entry, PackedWeight) else entry


def _loaded_value(entry: Entry, form: nn.Module | None) -> Tensor:
    """Return the new value of a parameter; ``form`` is its parametrization, if it has one."""
    if not isinstance(entry, PackedWeight):
        return entry
    if isinstance(form, LayerQuantizer) and form.bits == entry.bits:
        return form.latent(entry.encoded())
    return _float_value(entry)


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
