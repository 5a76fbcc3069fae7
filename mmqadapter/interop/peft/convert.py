"""Conversion between PEFT's folders and task files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmqadapter.interop.peft.export_lora import to_peft
from mmqadapter.interop.peft.folder import read_peft, write_peft
from mmqadapter.interop.peft.import_lora import adapted_backbone
from mmqadapter.interop.peft.timm_net import find_projections
from mmqadapter.interop.unfit_error import UnfitError
from mmqadapter.taskfile.contents import split_content
from mmqadapter.taskfile.format import read_task, require_suffix
from mmqadapter.taskfile.task import save_task


def import_peft(
    folder: str | os.PathLike, out: str | os.PathLike, net: Mapping[str, Any]
) -> dict[str, Any]:
    """Write PEFT's LoRA as the task file ``out`` of a bare backbone, atomically.

    The LoRA must be on the fused projections to q, k and v. Block-structured products, as
    :func:`export_peft` writes them, become separate products again.

    Args:
        folder: Folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        out: The task file to write; :func:`mmqadapter.load_task` loads it into
            ``model.backbone``.
        net: Arguments of ``TimmBackbone``, with the trunk's weights (``checkpoint=FILE`` or
            ``pretrained=True``), to which the task file is tied.

    Returns:
        The tuning config of the task.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The folder is damaged, has no plain LoRA or does not fit the net, or ``out``
            has another suffix.
    """
    require_suffix(out)
    lora = read_peft(folder)
    try:
        backbone = adapted_backbone(lora, net)
    except UnfitError as error:
        raise ValueError(f'{str(folder)!r} does not fit {net["model_name"]!r}: {error}') from error
    save_task(backbone, out)
    return backbone.tuning_config


def export_peft(
    task: str | os.PathLike, folder: str | os.PathLike, net: Mapping[str, Any]
) -> list[str]:
    """Write the LoRA of a task file as a folder for ``peft.PeftModel.from_pretrained``.

    Separate products on q, k and v are written as one product of the sum of their ranks;
    quantized weights are written decoded; a learned scale is multiplied into B. The weights of
    the trunk are not needed.

    Args:
        task: Task file of LoRA in a timm ViT or Swin.
        folder: Where ``adapter_config.json`` and ``adapter_model.safetensors`` are written.
        net: Arguments of ``TimmBackbone``, such as ``dict(model_name='vit_base_patch16_224')``.

    Returns:
        Names of the neck's and head's tensors, which PEFT cannot store and which are left out.

    Raises:
        FileNotFoundError: There is no such task file.
        ValueError: The task file is damaged, has other adapters, or does not fit the net.
    """
    content = read_task(task)
    tensors, head = split_content(content)
    try:
        lora = to_peft(content.metadata['tuning'], tensors, find_projections(net))
    except UnfitError as error:
        raise ValueError(f'{str(task)!r} cannot be written as a PEFT folder: {error}') from error
    write_peft(lora, folder)
    return sorted(head)
