"""Base class of the backbone wrappers, for packages that must not import the wrappers."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn


class TunedBackbone(BaseModule):
    """Base class of all wrappers of a frozen trunk.

    A class, not a protocol with properties: ``isinstance`` then computes nothing.

    Attributes:
        trunk: The frozen backbone.
        adapters: Trainable modules beside the trunk.
        trainable_names: Names of the trunk parameters that ``train`` selected, whether they require
            gradients at the moment or not.
        tuning_config: Settings that a task file depends on.
    """

    trunk: nn.Module
    adapters: nn.ModuleDict
    trainable_names: frozenset[str]
    tuning_config: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the frozen weights as loaded, in hexadecimal."""
        raise NotImplementedError


def tuned_backbone(model: nn.Module) -> TunedBackbone | None:
    """Return the first wrapper of a frozen trunk in ``model``, or None."""
    return next((m for m in model.modules() if isinstance(m, TunedBackbone)), None)


def trained_in_trunk(trunk: nn.Module, trainable_names: Container[str]) -> dict[str, Tensor]:
    """Return the trunk tensors that a task may modify, by name.

    These are the tensors selected to train when the wrapper was built, even if frozen since, and
    all that require gradients now.
    """
    state = trunk.state_dict(keep_vars=True)
    return {n: t for n, t in state.items() if n in trainable_names or t.requires_grad}
