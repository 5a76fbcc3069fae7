"""A model that FSDP has wrapped and cut into shards, seen as it was built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from mmengine.dist import all_gather_object
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmqadapter.utils.accounting import part_counts
from mmqadapter.utils.model_wrapping import unwrap_model


def is_sharded(model: nn.Module) -> bool:
    """Whether a process holds a part of some parameters of ``model`` only."""
    return any(isinstance(module, FullyShardedDataParallel) for module in model.modules())


@contextmanager
def as_built(model: nn.Module) -> Iterator[nn.Module]:
    """``model`` without wrappers (DDP, FSDP), so that all names are those of its checkpoints.

    Nothing is communicated: in a sharded model parameters are what this process holds of them.
    """
    bare = unwrap_model(model)
    wrapped = [
        (parent, name, child)
        for parent in bare.modules()
        for name, child in parent._modules.items()
        if isinstance(child, FullyShardedDataParallel)
    ]
    try:
        for parent, name, child in wrapped:
            parent._modules[name] = child.module
        yield bare
    finally:
        for parent, name, child in wrapped:
            parent._modules[name] = child


@contextmanager
def trained_whole(model: nn.Module) -> Iterator[nn.Module]:
    """:func:`as_built`, all that trains in one piece; every process has to take part.

    What is written into it counts if every process writes the same. Blocks that are frozen stay
    shards, so that little is communicated.
    """
    units = FullyShardedDataParallel.fsdp_modules(model)
    with ExitStack() as gathered:
        for unit in units:
            if any(parameter.requires_grad for parameter in unit.parameters()):
                gathered.enter_context(
                    FullyShardedDataParallel.summon_full_params(unit, recurse=False)
                )
        yield gathered.enter_context(as_built(model))


def whole_counts(model: nn.Module) -> dict[str, dict[str, int]]:
    """``part_counts`` of all shards together; every process has to take part."""
    sharded = is_sharded(model)
    with as_built(model) as bare:
        counts = part_counts(bare)
    if not sharded:
        return counts
    total: dict[str, Counter] = {}
    for held in all_gather_object(counts):
        for part, tally in held.items():
            total.setdefault(part, Counter()).update(tally)
    return {part: dict(tally) for part, tally in total.items()}
