"""What one process of several sees of a backbone in shards; started by test_sharding.py."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from tiny_backbones import tiny_config
from torch import distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel

import mmqadapter  # noqa: F401
from mmqadapter import load_task, save_task
from mmqadapter.backbones import frozen_blocks
from mmqadapter.utils.accounting import part_counts
from mmqadapter.utils.sharding import as_built, is_sharded, trained_whole, whole_counts


def build(seed: int) -> Any:
    """A 1-bit adapted ViT in a model with a head; the trunk is the same for every seed."""
    torch.manual_seed(0)
    backbone = MODELS.build(dict(
        type='mmqadapter.AdaptedBackbone', backbone=tiny_config('mmseg_vit'),
        adapter=dict(type='AdaptFormer', width=4),
        quantizer=dict(type='GaussianQuantizer', bits=1)))  # fmt: skip
    torch.manual_seed(seed)
    model = nn.ModuleDict(dict(backbone=backbone, head=nn.Linear(16, 3)))
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    return model


def shard(model: nn.Module) -> nn.Module:
    return FullyShardedDataParallel(
        model, auto_wrap_policy=partial(frozen_blocks), use_orig_params=True, device_id='cpu'
    )


def main(folder: Path) -> None:
    rank = distributed.get_rank()
    whole, other = build(1), build(2)
    save_task(whole, folder / f'whole{rank}')
    names, counts, sizes = list(whole.state_dict()), part_counts(whole), block_size(whole)
    trunk = {f'trunk.{n}': t + 1 for n, t in build(1)['backbone'].trunk.state_dict().items()}
    sharded = shard(whole)
    found: dict[str, Any] = {
        'share of the blocks held': block_size(sharded) / sizes,
        'is sharded': is_sharded(sharded) and not is_sharded(other),
        'counts are of the whole': whole_counts(sharded) == counts,
        'wrappers come back': len(FullyShardedDataParallel.fsdp_modules(sharded)) == 4,
    }
    with as_built(sharded) as bare:
        found['names are those of checkpoints'] = list(bare.state_dict()) == names
    with trained_whole(sharded) as bare:
        if rank == 0:
            save_task(bare, folder / 'sharded')
            found['task file is the same'] = same(folder / 'sharded', folder / 'whole0')
    save_task(other, folder / f'other{rank}')
    with trained_whole(sharded) as bare:
        load_task(bare, folder / f'other{rank}', trainable=True)
    load_task(other, folder / f'other{rank}', trainable=True)
    save_task(other, folder / f'other{rank}')
    with trained_whole(sharded) as bare:
        save_task(bare, folder / f'loaded{rank}')
    found['a task comes in'] = same(folder / f'loaded{rank}', folder / f'other{rank}')
    sharded.load_state_dict({f'backbone.{name}': t for name, t in trunk.items()}, strict=False)
    other['backbone'].load_state_dict(dict(trunk), strict=False)
    with as_built(sharded) as bare:
        known = bare['backbone'].fingerprint == other['backbone'].fingerprint
    found['another trunk is known by its own fingerprint'] = known
    (folder / f'rank{rank}.json').write_text(json.dumps(found))


def block_size(model: nn.Module) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if '.layers.' in name)


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


if __name__ == '__main__':
    distributed.init_process_group('gloo')
    main(Path(sys.argv[1]))
    distributed.destroy_process_group()
