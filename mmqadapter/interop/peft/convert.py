"""Between PEFT's folders and task files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from reprlib import repr as short
from typing import Any

import torch
from torch import nn

from mmqadapter.adapters import LoRA, build_adapter
from mmqadapter.adapters.scale import LearnedScale
from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.backbones.block_table import select_blocks
from mmqadapter.interop.peft.folder import PeftLora, read_peft, write_peft
from mmqadapter.interop.peft.products import FUSED, Product, find_targets, join, split
from mmqadapter.interop.peft.settings import MAX_RANK, PeftSettings
from mmqadapter.interop.peft.timm_net import Projection, find_projections
from mmqadapter.taskfile.adapter_codec import (
    ADAPTER_PREFIX,
    check_adapter_tensors,
    decode_adapters,
)
from mmqadapter.taskfile.format import TaskContent, read_task, require_suffix
from mmqadapter.taskfile.task import save_task

LONGEST_CHOICE = 4096  # characters; that of all blocks of a ViT-g by name has 700


def import_peft(
    folder: str | os.PathLike, out: str | os.PathLike, net: Mapping[str, Any]
) -> dict[str, Any]:
    """Write PEFT's LoRA as the task file ``out`` of a bare backbone, atomically.

    The LoRA must be on the fused projections to q, k and v. Block-structured ones, as
    :func:`export_peft` writes, become separate products again.

    Args:
        folder: With ``adapter_config.json`` and ``adapter_model.safetensors``.
        out: The task file to write; :func:`mmqadapter.load_task` puts it into ``model.backbone``.
        net: Arguments of ``TimmBackbone``, with the trunk's weights (``checkpoint=FILE`` or
            ``pretrained=True``), which the task file is tied to.

    Returns:
        The tuning config of the task.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A folder that is damaged, is no plain LoRA, or does not fit the net; another
            suffix of ``out``.
    """
    require_suffix(out)
    content = read_peft(folder)
    try:
        backbone = _adapted(content, find_projections(net), net)
    except _UnfitError as error:
        raise ValueError(f'{str(folder)!r} does not fit {net["model_name"]!r}: {error}') from error
    save_task(backbone, out)
    return backbone.tuning_config


def export_peft(
    task: str | os.PathLike, folder: str | os.PathLike, net: Mapping[str, Any]
) -> list[str]:
    """Write the LoRA of a task file as a folder for ``peft.PeftModel.from_pretrained``.

    Products on q, k and v leave as one of their ranks together; quantised weights leave decoded;
    a learned scale is multiplied into B. Needs no weights of the trunk.

    Args:
        task: A task file of LoRA in a timm ViT or Swin.
        folder: Where ``adapter_config.json`` and ``adapter_model.safetensors`` are written.
        net: Arguments of ``TimmBackbone``, such as ``dict(model_name='vit_base_patch16_224')``.

    Returns:
        Names of the tensors left out, which PEFT has no place for: neck and head.

    Raises:
        FileNotFoundError: No such task file.
        ValueError: It is damaged, holds other adapters, or does not fit the net.
    """
    content = read_task(task)
    try:
        lora = _to_peft(content, find_projections(net))
    except _UnfitError as error:
        raise ValueError(f'{str(task)!r} cannot leave as a PEFT folder: {error}') from error
    write_peft(lora, folder)
    return sorted(name for name in content.tensors if not name.startswith(ADAPTER_PREFIX))


class _UnfitError(ValueError):
    """Why the two forms do not meet."""


def _adapted(
    content: PeftLora, places: Mapping[str, Projection], net: Mapping[str, Any]
) -> AdaptedBackbone:
    """The net with the LoRA of ``content``."""
    _check_places(content.products, places)
    targets = find_targets([*content.products.values()])
    adapter = {
        'type': 'LoRA',
        'rank': content.settings.rank // len(targets),
        'targets': 'qkv' if targets == FUSED else list(targets),
        'scale': content.settings.scale,
    }
    blocks = _choice([p.block for n, p in places.items() if n in content.products], places.values())
    backbone = AdaptedBackbone({'type': 'mmqadapter.TimmBackbone', **net}, adapter, blocks=blocks)
    for name, product in content.products.items():
        key = places[name].block.replace('.', '_')
        _fill(backbone.adapters.get_submodule(f'{key}.qkv'), split(product, targets))
    return backbone


def _check_places(products: Mapping[str, Product], places: Mapping[str, Projection]) -> None:
    for name, product in products.items():
        if name not in places:
            raise _UnfitError(
                f'it changes {short(name)}; LoRA of ours is on the fused projections alone, here '
                f'{", ".join([*places][:2])} to {[*places][-1]} (target_modules=["qkv"]).'
            )
        channels = places[name].channels
        found = (product.up.shape[0], product.down.shape[1])
        if found != (3 * channels, channels):
            raise _UnfitError(
                f'{name} is changed by a matrix of {found}, the net has ({3 * channels}, '
                f'{channels}); name the model that the adapter was trained on.'
            )


def _choice(chosen: Sequence[str], every: Iterable[Projection]) -> str | None:
    """What ``blocks`` of the tuning config says for these blocks of all."""
    names = [projection.block for projection in every]
    if len(chosen) == len(names):
        return None
    if list(chosen) == names[-len(chosen) :]:
        return f'last-{len(chosen)}'
    return f'^({"|".join(re.escape(name) for name in chosen)})$'


@torch.no_grad()
def _fill(lora: nn.Module, parts: Mapping[str, Product]) -> None:
    assert isinstance(lora, LoRA)
    for (down, up), part in zip(lora.pairs(), parts.values(), strict=True):
        down.weight.copy_(part.down)
        up.weight.copy_(part.up)


def _to_peft(task: TaskContent, places: Mapping[str, Projection]) -> PeftLora:
    adapters = _loras(task.metadata['tuning'], places)
    stored = {n: t for n, t in task.tensors.items() if ADAPTER_PREFIX in n}
    blobs = {name.removeprefix(ADAPTER_PREFIX): tensor for name, tensor in stored.items()}
    try:
        check_adapter_tensors(adapters, blobs)
    except ValueError as error:
        raise _UnfitError(f'{error} Is it this model?') from error
    decode_adapters(adapters, blobs, trainable=False)
    names = {place.block.replace('.', '_'): name for name, place in places.items()}
    products = {names[key]: _fused(lora) for key, lora in adapters.items()}
    rank = next(iter(products.values())).down.shape[0]
    scale = task.metadata['tuning']['adapter'].get('scale', 1.0)
    return PeftLora(PeftSettings.of_scale(1.0 if scale == 'learned' else scale, rank), products)


def _loras(tuning: Mapping[str, Any], places: Mapping[str, Projection]) -> nn.ModuleDict:
    """LoRA modules as the tuning config of a task file has them, in stored order."""
    adapter, quantizer = tuning.get('adapter') or {}, tuning.get('quantizer')
    kinds = (tuning.get('type'), adapter.get('type'), (quantizer or {}).get('type'))
    # By name, since whatever a config names would be built.
    if kinds[:2] != ('AdaptedBackbone', 'LoRA') or kinds[2] not in (None, 'GaussianQuantizer'):
        raise _UnfitError(f'it was tuned with {short(tuning)}; LoRA in the path alone can.')
    # Before anything is built: other arguments could ask for any amount of memory.
    if unknown := sorted(adapter.keys() - {'type', 'rank', 'targets', 'scale'}):
        raise _UnfitError(f'its LoRA has {short(unknown)}; rank, targets and scale are expected.')
    rank = adapter.get('rank')
    if type(rank) is not int or not 0 < rank <= MAX_RANK:
        raise _UnfitError(f'its rank is {short(rank)}; 1 to {MAX_RANK} is expected.')
    _check_choice(tuning.get('blocks'))
    channels = {place.block: place.channels for place in places.values()}
    empty = {name: nn.Module() for name in channels}
    try:
        chosen = select_blocks(empty, tuning.get('blocks'))
        built = {n: build_adapter(adapter, quantizer, channels=channels[n]) for n in chosen}
    except (TypeError, ValueError) as error:
        raise _UnfitError(f'{error} Is it this model?') from error
    return nn.ModuleDict({name.replace('.', '_'): lora for name, lora in built.items()})


def _check_choice(blocks: Any) -> None:
    """Refuse a regex that could go on for ever, since the file may be anybody's."""
    text = str(blocks)
    costly = text.count('(') > 1 or sum(map(text.count, '*+?{')) > 2 or re.search(r'\)[*+?{]', text)
    if costly or len(text) > LONGEST_CHOICE:
        raise _UnfitError(
            f'its blocks are chosen by {short(text)}; a regex with one group, which is not '
            'repeated, and two repetitions at most is expected.'
        )


@torch.no_grad()
def _fused(lora: nn.Module) -> Product:
    """One product for the fused projection, with a learned scale in its B."""
    assert isinstance(lora, LoRA)
    weights = [(down.weight.detach(), up.weight.detach()) for down, up in lora.pairs()]
    down, up = join({n: Product(*w) for n, w in zip(lora.products, weights, strict=True)})
    return Product(down, lora.scale(up) if isinstance(lora.scale, LearnedScale) else up)
