"""Where a model keeps what belongs to a task, and what it keeps there."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from itertools import chain
from typing import Any, get_args

from torch import Tensor, nn

from mmqadapter.quant import CODES_ATTRIBUTE, Encoded, GaussianQuantizer, Layer, PackedWeight
from mmqadapter.utils.tuned_backbone import TunedBackbone, trained_in_trunk, tuned_backbone

# A dictionary of a module, and a key there.
TensorSlot = tuple[MutableMapping[str, Any], str]


def trunk_of(model: nn.Module) -> nn.Module:
    """The frozen trunk in a model.

    Raises:
        ValueError: There is none.
    """
    backbone: Any = tuned_backbone(model)
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no wrapped backbone, so no trunk that tasks could share; '
            'wrap the backbone (type="mmqadapter.AdaptedBackbone").'
        )
    return backbone.trunk


def frozen_tensors(model: nn.Module) -> Iterator[Tensor]:
    """The trunk's tensors that no task changes."""
    trunk, backbone = trunk_of(model), tuned_backbone(model)
    assert isinstance(backbone, TunedBackbone)
    trained = {id(t) for t in trained_in_trunk(trunk, backbone.trainable_names).values()}
    return (t for t in chain(trunk.parameters(), trunk.buffers()) if id(t) not in trained)


def find_slots(model: nn.Module) -> Iterator[TensorSlot]:
    """All places of tensors but those of the trunk, and those of stored codes."""
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
    """The tensors among what places hold, one by one."""
    for content in contents:
        if isinstance(content, (Encoded, PackedWeight)):
            yield from (content.codes, content.mean, content.std)
        elif content is not None:
            yield content


def versions_of(contents: list[Any]) -> list[int]:
    """PyTorch's count of changes in place, of each tensor."""
    return [tensor._version for tensor in tensors_in(contents)]


def kind_of(content: Any) -> tuple | None:
    """Device, dtype and shape of a tensor; None of anything else."""
    if isinstance(content, Tensor):
        return content.device, content.dtype, content.shape
    return None
