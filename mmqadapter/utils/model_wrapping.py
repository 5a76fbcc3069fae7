"""Models inside wrappers that only forward calls."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

# Names that wrappers give to their only child: DDP and averaged models, torch.compile.
CHILD_NAMES = ('module', '_orig_mod')


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside DDP, FSDP, an averaged model and ``torch.compile``, however nested.

    Its parameters have the names that checkpoints and task files use. A model that FSDP has cut
    into shards still has shards inside; see :func:`mmqadapter.utils.sharding.as_built`.
    """
    wrapper: Any = model
    known = is_model_wrapper(model) or isinstance(model, FullyShardedDataParallel)
    inner = wrapper.module if known else _only_child(model)
    return model if inner is None else unwrap_model(inner)


def _only_child(model: nn.Module) -> nn.Module | None:
    children = dict(model.named_children())
    return next((children[name] for name in CHILD_NAMES if list(children) == [name]), None)
