"""Conversion between released tasks and task files; the bytes of all weights stay the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.interop.petl_vit.classifier import PackedLinear, PetlClassifier
from mmqadapter.interop.petl_vit.export_content import to_petl
from mmqadapter.interop.petl_vit.files import read_petl, write_petl
from mmqadapter.interop.petl_vit.layout import PetlContent
from mmqadapter.interop.petl_vit.settings import PetlSettings
from mmqadapter.interop.unfit_error import UnfitError
from mmqadapter.taskfile.adapter_codec import (
    CODES,
    STATISTICS,
    check_adapter_tensors,
    decode_adapters,
)
from mmqadapter.taskfile.format import read_task, require_suffix
from mmqadapter.taskfile.task import save_task

TRUNK = {'pretrained': True}


def load_petl(
    binary: str | os.PathLike,
    settings: str | os.PathLike,
    trunk: Mapping[str, Any] | None = None,
) -> PetlClassifier:
    """Build the classifier of a released task, with exactly its weights, in eval mode.

    Args:
        binary: The .bin file.
        settings: The .yaml file.
        trunk: Where to load the ViT's weights from, as arguments of ``TimmBackbone``, such as
            ``dict(checkpoint='ViT-B_16.npz')``; by default those that timm names, from its cache
            or the network.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The files are damaged or do not belong together, or the trunk's weights
            cannot be loaded.
    """
    return _classifier(read_petl(binary, settings), trunk)


def import_petl(
    binary: str | os.PathLike,
    settings: str | os.PathLike,
    out: str | os.PathLike,
    trunk: Mapping[str, Any] | None = None,
) -> None:
    """Write a released task as the task file ``out``, atomically; see :func:`load_petl`."""
    require_suffix(out)
    content = read_petl(binary, settings)
    save_task(_classifier(content, trunk), out, {'name': content.settings.dataset})


def export_petl(
    task: str | os.PathLike, binary: str | os.PathLike, settings: str | os.PathLike
) -> None:
    """Write a task file as the release does; for an imported one the bytes are the same.

    The trunk's weights are not needed, because codes and statistics are copied.

    Args:
        task: Task file of a :class:`PetlClassifier`.
        binary: The .bin file to write.
        settings: The .yaml file to write.

    Raises:
        FileNotFoundError: There is no such task file.
        ValueError: The task file is damaged, or holds what the release's format cannot store.
    """
    try:
        content = to_petl(read_task(task))
    except UnfitError as error:
        raise ValueError(
            f'{str(task)!r} does not fit the format of PETL-ViT: {error}. Expected AdaptFormer or '
            'LoRA (q and v) in all blocks of a ViT-B at 1, 2 or 4 bits, with a fixed scale and a '
            'linear classifier; keep the task file for anything else.'
        ) from error
    write_petl(content, binary, settings)


def _classifier(content: PetlContent, trunk: Mapping[str, Any] | None) -> PetlClassifier:
    """Build the classifier with the weights of ``content``."""
    model = _build(content.settings, TRUNK if trunk is None else trunk)
    adapters = model.backbone.get_submodule('adapters')
    tensors = {CODES: content.codes, STATISTICS: content.statistics}
    check_adapter_tensors(adapters, tensors)
    decode_adapters(adapters, tensors, trainable=False)
    model.head.load_state_dict(content.head)
    return model.eval()


def _build(settings: PetlSettings, trunk: Mapping[str, Any]) -> PetlClassifier:
    net = settings.net
    backbone = {'type': 'mmqadapter.TimmBackbone', **net.config, **trunk}
    adapted = AdaptedBackbone(backbone, settings.adapter, settings.quantizer)
    kind: type[nn.Module] = PackedLinear if settings.binary_head else nn.Linear
    head: nn.Module = kind(net.channels, settings.num_class)
    return PetlClassifier(adapted, head)
