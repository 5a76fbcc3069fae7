"""A wrapper round a frozen trunk, as rooms see it that must not import the wrappers."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn


class TunedBackbone(BaseModule):
    """Base class of all wrappers, so that a type test computes nothing.

    Attributes:
        trunk: The frozen net.
        adapters: What is trained beside it.
        trainable_names: Trunk parameters that ``train`` selected, by name, whether they train at
            the moment or not.
        tuning_config: Settings that a task file depends on.
    """

    trunk: nn.Module
    adapters: nn.ModuleDict
    trainable_names: frozenset[str]
    tuning_config: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the frozen weights as loaded."""
        raise NotImplementedError


def tuned_backbone(model: nn.Module) -> TunedBackbone | None:
    """Return the wrapper of a frozen trunk in ``model``; None where nothing is frozen by us."""
    return next((m for m in model.modules() if isinstance(m, TunedBackbone)), None)


def trained_in_trunk(trunk: nn.Module, trainable_names: Container[str]) -> dict[str, Tensor]:
    """Return the trunk tensors that a task may modify, by name.

    These are what was selected to train when the wrapper was built, even if it was frozen since,
    and all that trains now.
    """
    state = trunk.state_dict(keep_vars=True)
    return {n: t for n, t in state.items() if n in trainable_names or t.requires_grad}
