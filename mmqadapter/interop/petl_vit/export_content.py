"""Content of a task file as the release stores it."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor

from mmqadapter.interop.petl_vit.layout import (
    HEAD_BITS,
    PetlContent,
    file_bytes,
    matrix_bytes,
    matrix_count,
)
from mmqadapter.interop.petl_vit.plausibility import find_problem
from mmqadapter.interop.petl_vit.settings import NETS, PetlSettings
from mmqadapter.interop.unfit_error import UnfitError
from mmqadapter.registry import full_config
from mmqadapter.taskfile.adapter_codec import ADAPTER_PREFIX, CODES, STATISTICS
from mmqadapter.taskfile.format import TaskContent
from mmqadapter.taskfile.task import plain

HEAD_PREFIX = 'head.'
HEADS = ({'weight', 'bias'}, {'codes', 'statistics'})


def to_petl(task: TaskContent) -> PetlContent:
    """Return the content of a task file as the release stores it.

    Raises:
        UnfitError: The release's format cannot store it.
    """
    tensors = dict(task.tensors)
    codes, statistics = (tensors.pop(ADAPTER_PREFIX + name, None) for name in (CODES, STATISTICS))
    # mmpretrain's heads hold the layer as fc.
    head = {
        n.removeprefix(HEAD_PREFIX).removeprefix('fc.'): t
        for n, t in tensors.items()
        if n.startswith(HEAD_PREFIX)
    }
    if len(head) != len(tensors) or set(head) not in HEADS or codes is None or statistics is None:
        raise UnfitError(f'it holds {short(sorted(task.tensors))}')
    if any(t.dtype not in (torch.float32, torch.uint8) for t in head.values()):
        raise UnfitError('its classifier has 16 bits (save it with head_bits=32)')
    content = _with_settings(task.metadata, codes, statistics, head)
    if problem := find_problem(content):
        raise UnfitError(problem)
    return content


def _with_settings(
    metadata: Mapping[str, Any], codes: Tensor, statistics: Tensor, head: dict[str, Tensor]
) -> PetlContent:
    """Return the content with the first trunk of the release that has these sizes."""
    reason = f'none of the trunks of the release ({", ".join(NETS)}) has adapters of these sizes'
    for net in NETS:
        try:
            settings = _settings(net, metadata, head)
        except UnfitError as error:
            reason = str(error)
            continue
        content = PetlContent(settings, codes, statistics, head)
        if _sizes_fit(content):
            return content
    raise UnfitError(reason)


def _sizes_fit(content: PetlContent) -> bool:
    settings, count = content.settings, matrix_count(content.settings)
    sizes = (content.codes.numel(), content.statistics.numel())
    total = sum(t.nbytes for t in (content.codes, content.statistics, *content.head.values()))
    return sizes == (count * matrix_bytes(settings), 2 * count) and total == file_bytes(settings)


def _settings(net: str, metadata: Mapping[str, Any], head: Mapping[str, Tensor]) -> PetlSettings:
    """Return the settings that are equivalent to the tuning config of a task file."""
    tuning, dataset = metadata['tuning'], metadata['dataset'] or {}
    adapter: Any = tuning.get('adapter') or {}
    quantizer: Any = tuning.get('quantizer') or {}
    lora, binary = adapter.get('type') == 'LoRA', 'codes' in head
    try:
        settings = PetlSettings(
            backbone=net,
            bit=quantizer.get('bits'),
            dataset=str(dataset.get('name', '')),
            dim=adapter.get('rank' if lora else 'width'),
            method=('lora' if lora else 'adaptformer') + ('-bihead' if binary else ''),
            num_class=_class_count(net, head),
            scale=adapter.get('scale'),
        )
    except ValueError as error:
        raise UnfitError(str(error).rstrip('.')) from error
    if tuning != (expected := tuning_config(settings)):
        raise UnfitError(f'its tuning config is {tuning}, expected {expected}')
    return settings


def _class_count(net: str, head: Mapping[str, Tensor]) -> int:
    if 'codes' in head:
        return head['codes'].numel() * 8 // HEAD_BITS // NETS[net].channels
    return head['bias'].numel()


def tuning_config(settings: PetlSettings) -> dict[str, Any]:
    """Return the tuning config of a model with these settings, as in a task file."""
    tuning = {
        'type': 'AdaptedBackbone',
        'adapter': full_config(settings.adapter),
        'quantizer': full_config(settings.quantizer),
        'blocks': None,
    }
    return plain(tuning)
