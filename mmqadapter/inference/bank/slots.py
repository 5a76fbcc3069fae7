"""Tensor slots: where a model holds the tensors of a task, and the contents of the slots."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from itertools import chain
from typing import Any, get_args

from torch import Tensor, nn

from mmqadapter.quant import CODES_ATTRIBUTE, Encoded, GaussianQuantizer, Layer, PackedWeight
from mmqadapter.utils.tuned_backbone import TunedBackbone, trained_in_trunk, tuned_backbone

# A dict of a module (parameters, buffers or attributes), and a key in it.
TensorSlot = tuple[MutableMapping[str, Any], str]


def trunk_of(model: nn.Module) -> nn.Module:
    """Return the trunk of a model.

    Raises:
        ValueError: The model has no wrapped backbone.
    """
    backbone: Any = tuned_backbone(model)
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no wrapped backbone, so there is no trunk that tasks can '
            'share; wrap the backbone (type="mmqadapter.AdaptedBackbone").'
        )
    return backbone.trunk


def frozen_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors of the trunk that no task changes."""
    trunk, backbone = trunk_of(model), tuned_backbone(model)
    assert isinstance(backbone, TunedBackbone)
    trained = {id(t) for t in trained_in_trunk(trunk, backbone.trainable_names).values()}
    return (t for t in chain(trunk.parameters(), trunk.buffers()) if id(t) not in trained)


def find_slots(model: nn.Module) -> Iterator[TensorSlot]:
    """Yield the slots of all tensors outside the frozen trunk, and those of stored codes."""
    frozen = {id(t) for t in frozen_tensors(model)}
    for module in model.modules():
        if isinstance(module, GaussianQuantizer):
            yield module.__dict__, 'folded'
        if isinstance(module, get_args(Layer)):
            module.__dict__.setdefault(CODES_ATTRIBUTE, None)
            yield module.__dict__, CODES_ATTRIBUTE
        for owner in (module._parameters, module._buffers):
            yield from ((owner, key) for key, tensor in owner.items() if id(tensor) not in frozen)


def tensors_in(contents: list[Any]) -> Iterator[Tensor]:
    """Yield all tensors in the contents of slots."""
    for content in contents:
        if isinstance(content, (Encoded, PackedWeight)):
            yield from (content.codes, content.mean, content.std)
        elif content is not None:
            yield content


def versions_of(contents: list[Any]) -> list[int]:
    """Return PyTorch's count of in-place changes for each tensor in the contents of slots."""
    return [tensor._version for tensor in tensors_in(contents)]


def kind_of(content: Any) -> tuple | None:
    """Return device, dtype and shape of a tensor; None for any other content."""
    if isinstance(content, Tensor):
        return content.device, content.dtype, content.shape
    return None
