"""Import of a released task into the image classifier of a config."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference.model import config_meta
from mmqadapter.interop.petl_vit.export_content import tuning_config
from mmqadapter.interop.petl_vit.files import read_petl
from mmqadapter.interop.petl_vit.layout import PetlContent
from mmqadapter.taskfile.adapter_codec import (
    CODES,
    STATISTICS,
    check_adapter_tensors,
    decode_adapters,
)
from mmqadapter.taskfile.format import require_suffix
from mmqadapter.taskfile.task import plain, save_task


def import_petl_into(
    binary: str | os.PathLike,
    settings: str | os.PathLike,
    config: str | os.PathLike,
    out: str | os.PathLike,
    cfg_options: dict[str, Any] | None = None,
) -> None:
    """Write a released task as a task file for a config, which tests and predicts with it.

    All weights keep their bytes. The classifier becomes ``model.head.fc``.

    Args:
        binary: The .bin file.
        settings: The .yaml file.
        config: Config of an image classifier with the same adapters, or its path.
        out: The task file to write, atomically.
        cfg_options: Settings to override in the config.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The files are damaged or do not belong together, or the config's backbone or
            head differs from what they hold.
    """
    require_suffix(out)
    content = read_petl(binary, settings)
    cfg = load_config(config, cfg_options)
    model: Any = build_model(cfg)
    _load_adapters(model, content)
    _load_head(model, content)
    save_task(model, out, {'name': content.settings.dataset, **config_meta(cfg)}, head_bits=32)


def _load_adapters(model: Any, content: PetlContent) -> None:
    expected = tuning_config(content.settings)
    actual = plain(getattr(model.backbone, 'tuning_config', {}))
    if actual != expected:
        raise ValueError(
            f'model.backbone has the tuning config {actual}, and the release {expected}: set them '
            'alike (adapter, scale and quantizer are in the .yaml file).'
        )
    tensors = {CODES: content.codes, STATISTICS: content.statistics}
    check_adapter_tensors(model.backbone.adapters, tensors)
    decode_adapters(model.backbone.adapters, tensors, trainable=False)


def _load_head(model: Any, content: PetlContent) -> None:
    layer: nn.Module = model.head.fc
    try:
        layer.load_state_dict(content.head)
    except RuntimeError as error:
        shapes = {name: tuple(tensor.shape) for name, tensor in content.head.items()}
        kind = 'PackedClsHead' if content.settings.binary_head else 'LinearClsHead'
        raise ValueError(
            f'model.head.fc does not take the classifier of the release, {shapes}: expected '
            f'type={kind!r} with num_classes={content.settings.num_class} and '
            f'in_channels={content.settings.net.channels}.'
        ) from error
