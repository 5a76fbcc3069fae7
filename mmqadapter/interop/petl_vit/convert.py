"""Between the files of the release and task files; the bytes of all weights stay as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.interop.petl_vit.classifier import PackedLinear, PetlClassifier
from mmqadapter.interop.petl_vit.layout import (
    HEAD_BITS,
    PetlContent,
    file_bytes,
    find_problem,
    matrix_bytes,
    matrix_count,
    read_petl,
    write_petl,
)
from mmqadapter.interop.petl_vit.settings import NETS, PetlSettings
from mmqadapter.registry import full_config
from mmqadapter.taskfile.adapter_codec import (
    ADAPTER_PREFIX,
    CODES,
    STATISTICS,
    check_adapter_tensors,
    decode_adapters,
)
from mmqadapter.taskfile.format import TaskContent, read_task, require_suffix
from mmqadapter.taskfile.task import plain, save_task

TRUNK = {'pretrained': True}
HEAD = 'head.'
HEADS = ({'weight', 'bias'}, {'codes', 'statistics'})


def load_petl(
    binary: str | os.PathLike,
    settings: str | os.PathLike,
    trunk: Mapping[str, Any] | None = None,
) -> PetlClassifier:
    """The classifier of a released task, with exactly its weights, in eval mode.

    Args:
        binary: The .bin file.
        settings: The .yaml file.
        trunk: Where the ViT's weights come from, as arguments of ``TimmBackbone``, such as
            ``dict(checkpoint='ViT-B_16.npz')``; by default those that timm names, from its cache
            or the network.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Files that are damaged or do not belong together, or no weights to be had.
    """
    return _filled(read_petl(binary, settings), trunk)


def import_petl(
    binary: str | os.PathLike,
    settings: str | os.PathLike,
    out: str | os.PathLike,
    trunk: Mapping[str, Any] | None = None,
) -> None:
    """Write a released task as the task file ``out``, atomically; see :func:`load_petl`."""
    require_suffix(out)
    content = read_petl(binary, settings)
    save_task(_filled(content, trunk), out, {'name': content.settings.dataset})


def export_petl(
    task: str | os.PathLike, binary: str | os.PathLike, settings: str | os.PathLike
) -> None:
    """Write a task file as the release does; of an imported one this gives the same bytes.

    Needs no trunk: codes and statistics are carried over.

    Args:
        task: A task file of a :class:`PetlClassifier`.
        binary: The .bin file to write.
        settings: The .yaml file to write.

    Raises:
        FileNotFoundError: No such task file.
        ValueError: It is damaged, or holds what the release has no place for.
    """
    try:
        content = _to_petl(read_task(task))
    except _UnfitError as error:
        raise ValueError(
            f'{str(task)!r} does not fit the format of PETL-ViT: {error}. It takes AdaptFormer or '
            'LoRA (q and v) in all blocks of a ViT-B at 1, 2 or 4 bits, with a fixed scale and a '
            'linear classifier; keep the task file for anything else.'
        ) from error
    write_petl(content, binary, settings)


class _UnfitError(ValueError):
    """What the format has no place for."""


def _filled(content: PetlContent, trunk: Mapping[str, Any] | None) -> PetlClassifier:
    model = _build(content.settings, TRUNK if trunk is None else trunk)
    adapters = model.backbone.get_submodule('adapters')
    blobs = {CODES: content.codes, STATISTICS: content.statistics}
    check_adapter_tensors(adapters, blobs)
    with torch.no_grad():
        decode_adapters(adapters, blobs, trainable=False)
    model.head.load_state_dict(content.head)
    return model.eval()


def _build(settings: PetlSettings, trunk: Mapping[str, Any]) -> PetlClassifier:
    net = settings.net
    backbone = {'type': 'mmqadapter.TimmBackbone', **net.config, **trunk}
    adapted = AdaptedBackbone(backbone, settings.adapter, settings.quantizer)
    kind: type[nn.Module] = PackedLinear if settings.binary_head else nn.Linear
    head: nn.Module = kind(net.channels, settings.num_class)
    return PetlClassifier(adapted, head)


def _to_petl(task: TaskContent) -> PetlContent:
    tensors = dict(task.tensors)
    codes, statistics = (tensors.pop(ADAPTER_PREFIX + name, None) for name in (CODES, STATISTICS))
    head = {name.removeprefix(HEAD): t for name, t in tensors.items() if name.startswith(HEAD)}
    if len(head) != len(tensors) or set(head) not in HEADS or codes is None or statistics is None:
        raise _UnfitError(f'it holds {short(sorted(task.tensors))}')
    if any(t.dtype not in (torch.float32, torch.uint8) for t in head.values()):
        raise _UnfitError('its classifier has 16 bits (save it with head_bits=32)')
    content = _fitting(task.metadata, codes, statistics, head)
    if problem := find_problem(content):
        raise _UnfitError(problem)
    return content


def _fitting(
    metadata: Mapping[str, Any], codes: Tensor, statistics: Tensor, head: dict[str, Tensor]
) -> PetlContent:
    """Content for the first trunk of the release whose sizes these are."""
    told = f'no trunk that it knows ({", ".join(NETS)}) has adapters of these sizes'
    for name in NETS:
        try:
            settings = _settings(name, metadata, head)
        except _UnfitError as error:
            told = str(error)
            continue
        content = PetlContent(settings, codes, statistics, head)
        if _sizes_fit(content):
            return content
    raise _UnfitError(told)


def _sizes_fit(content: PetlContent) -> bool:
    settings, count = content.settings, matrix_count(content.settings)
    sizes = (content.codes.numel(), content.statistics.numel())
    total = sum(t.nbytes for t in (content.codes, content.statistics, *content.head.values()))
    expected = (count * matrix_bytes(settings), 2 * count)
    return sizes == expected and total == file_bytes(settings)


def _settings(net: str, metadata: Mapping[str, Any], head: Mapping[str, Tensor]) -> PetlSettings:
    """Settings that mean the tuning config of a task file."""
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
            num_class=_classes(net, head),
            scale=adapter.get('scale'),
        )
    except ValueError as error:
        raise _UnfitError(str(error).rstrip('.')) from error
    if tuning != (same := _tuning(settings)):
        raise _UnfitError(f'its tuning config is {tuning}, not {same}')
    return settings


def _classes(net: str, head: Mapping[str, Tensor]) -> int:
    if 'codes' in head:
        return head['codes'].numel() * 8 // HEAD_BITS // NETS[net].channels
    return head['bias'].numel()


def _tuning(settings: PetlSettings) -> dict[str, Any]:
    """Tuning config of the model of ``settings``, as a task file has it."""
    tuning = {
        'type': 'AdaptedBackbone',
        'adapter': full_config(settings.adapter),
        'quantizer': full_config(settings.quantizer),
        'blocks': None,
    }
    return plain(tuning)
