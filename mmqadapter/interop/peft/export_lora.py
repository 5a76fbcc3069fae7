"""LoRA of a task file as PEFT stores it. The task file is untrusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters import LoRA, build_adapter
from mmqadapter.adapters.scale import LearnedScale
from mmqadapter.backbones.select import select_blocks
from mmqadapter.interop.peft.folder import PeftLora
from mmqadapter.interop.peft.products import Product, join
from mmqadapter.interop.peft.settings import MAX_RANK, PeftSettings, is_rank
from mmqadapter.interop.peft.timm_net import Projection
from mmqadapter.interop.unfit_error import UnfitError
from mmqadapter.taskfile.adapter_codec import check_adapter_tensors, decode_adapters

MAX_BLOCKS_LENGTH = 4096  # characters; naming all blocks of a ViT-g takes 700


def to_peft(
    tuning: Mapping[str, Any], tensors: dict[str, Tensor], projections: Mapping[str, Projection]
) -> PeftLora:
    """Return the LoRA of a task file as PEFT stores it.

    Args:
        tuning: Tuning config of the task file.
        tensors: Adapters of the task file.
        projections: Fused projections of the net, by timm's names.

    Raises:
        UnfitError: The task has other adapters than LoRA, or does not fit the net.
    """
    adapters = _build_loras(tuning, projections)
    try:
        check_adapter_tensors(adapters, tensors)
    except ValueError as error:
        raise UnfitError(f'{error} Is it this model?') from error
    decode_adapters(adapters, tensors, trainable=False)
    names = {p.block.replace('.', '_'): name for name, p in projections.items()}
    products = {names[key]: _fused(lora) for key, lora in adapters.items()}
    rank = next(iter(products.values())).down.shape[0]
    scale = tuning['adapter'].get('scale', 1.0)
    return PeftLora(PeftSettings.of_scale(1.0 if scale == 'learned' else scale, rank), products)


def _build_loras(tuning: Mapping[str, Any], projections: Mapping[str, Projection]) -> nn.ModuleDict:
    """Build the LoRA modules of a tuning config, in stored order."""
    _check_tuning(tuning)
    adapter, quantizer, blocks = tuning['adapter'], tuning.get('quantizer'), tuning.get('blocks')
    channels = {projection.block: projection.channels for projection in projections.values()}
    try:
        tuned = select_blocks({name: nn.Module() for name in channels}, blocks)
        loras = {n: build_adapter(adapter, quantizer, channels=channels[n]) for n in tuned}
    except (TypeError, ValueError) as error:
        raise UnfitError(f'{error} Is it this model?') from error
    return nn.ModuleDict({name.replace('.', '_'): lora for name, lora in loras.items()})


def _check_tuning(tuning: Mapping[str, Any]) -> None:
    """Check a tuning config before anything that it names is built.

    Other types could run code, and other arguments could allocate any amount of memory.
    """
    adapter, quantizer = tuning.get('adapter') or {}, tuning.get('quantizer')
    kinds = (tuning.get('type'), adapter.get('type'), (quantizer or {}).get('type'))
    if kinds[:2] != ('AdaptedBackbone', 'LoRA') or kinds[2] not in (None, 'GaussianQuantizer'):
        raise UnfitError(f'it was tuned with {short(tuning)}; expected LoRA in the path alone.')
    if unknown := sorted(adapter.keys() - {'type', 'rank', 'targets', 'scale'}):
        raise UnfitError(f'its LoRA has {short(unknown)}; expected only rank, targets and scale.')
    if not is_rank(rank := adapter.get('rank')):
        raise UnfitError(f'its rank is {short(rank)}; expected 1 to {MAX_RANK}.')
    _check_blocks(tuning.get('blocks'))


def _check_blocks(blocks: Any) -> None:
    """Refuse a regex that could take forever to match."""
    text = str(blocks)
    costly = text.count('(') > 1 or sum(map(text.count, '*+?{')) > 2 or re.search(r'\)[*+?{]', text)
    if costly or len(text) > MAX_BLOCKS_LENGTH:
        raise UnfitError(
            f'it has blocks={short(text)}; expected a regex with at most one group, which is not '
            'repeated, and at most two repetitions.'
        )


@torch.no_grad()
def _fused(lora: nn.Module) -> Product:
    """Return one product for the fused projection; a learned scale is multiplied into its B."""
    assert isinstance(lora, LoRA)
    weights = [(down.weight.detach(), up.weight.detach()) for down, up in lora.pairs()]
    down, up = join({n: Product(*w) for n, w in zip(lora.products, weights, strict=True)})
    return Product(down, lora.scale(up) if isinstance(lora.scale, LearnedScale) else up)
