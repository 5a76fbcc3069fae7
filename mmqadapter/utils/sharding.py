"""Views of a model wrapped and sharded by FSDP in the form in which it was built."""

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
    """Return whether a process holds only a shard of some parameters of ``model``."""
    return any(isinstance(module, FullyShardedDataParallel) for module in model.modules())


@contextmanager
def as_built(model: nn.Module) -> Iterator[nn.Module]:
    """Yield ``model`` without its wrappers (DDP, FSDP), with the names that checkpoints have.

    Nothing is communicated: the parameters of a sharded model are the shards of this process.
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
    """Yield the model as :func:`as_built` does, with all trainable parameters gathered.

    Every process has to enter this context. Changes of the parameters are kept if every process
    makes the same ones. Frozen blocks stay sharded, so that little is communicated.
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
    """Return ``part_counts`` summed over all shards; every process has to call this."""
    sharded = is_sharded(model)
    with as_built(model) as unwrapped:
        counts = part_counts(unwrapped)
    if not sharded:
        return counts
    total: dict[str, Counter] = {}
    for shard_counts in all_gather_object(counts):
        for part, tally in shard_counts.items():
            total.setdefault(part, Counter()).update(tally)
    return {part: dict(tally) for part, tally in total.items()}
