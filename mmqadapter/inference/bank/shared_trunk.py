"""MultiTaskModel: one run of a highway's trunk for the predictions of several tasks."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.backbones import HighwayBackbone
from mmqadapter.inference.bank.bank import TaskBank
from mmqadapter.utils.tuned_backbone import tuned_backbone

Maps = Sequence[Tensor]


class MultiTaskModel:
    """Model that predicts several tasks of a bank with one forward of the trunk per image.

    On a highway the trunk does not depend on the task; each task adds its highway, neck and head.
    Predictions equal those of ``test_step`` after :meth:`TaskBank.use`. Tasks that the bank
    registers or removes later make no difference.

    Args:
        bank: Bank on a model with a ``HighwayBackbone`` without blocks in path.
        names: Names of registered tasks; empty for all of the bank.

    Raises:
        ValueError: ``names`` is not a list of different names, or the bank lacks one of them or
            has no task at all, or the forward of the trunk depends on the task.
    """

    def __init__(self, bank: TaskBank, names: Sequence[str] = ()) -> None:
        if isinstance(names, str) or len(set(names)) != len(names):
            raise ValueError(
                f'names={names!r} is invalid: expected a list of different task names.'
            )
        self.names = tuple(names or bank.names)
        if not self.names:
            raise ValueError('the bank has no tasks; register some first.')
        self._models: list[Any] = [bank.model_of(name) for name in self.names]
        backbones: list[Any] = [tuned_backbone(model) for model in self._models]
        if not isinstance(backbones[0], HighwayBackbone):
            raise ValueError(
                f'{type(backbones[0]).__name__}: its trunk runs differently for each task; only '
                'tasks of a HighwayBackbone can share a run. Switch tasks with TaskBank.use.'
            )
        highways = [backbone.adapters['highway'] for backbone in backbones]
        self._shared = _SharedRun(backbones[0], highways)
        for number, (model, backbone) in enumerate(zip(self._models, backbones, strict=True)):
            maps = _TaskMaps(self._shared, number)
            self._models[number] = _replace_module(model, backbone, maps)

    @torch.no_grad()
    def test_step(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the result of ``model.test_step`` for a batch, by task.

        Args:
            data: Batch of a data loader, before preprocessing; not changed.
        """
        self._shared.clear()
        steps = zip(self.names, self._models, strict=True)
        return {name: model.test_step(copy.deepcopy(data)) for name, model in steps}

    @torch.no_grad()
    def forward(self, images: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Return the result of ``model(images, **kwargs)`` by task; images (B, 3, H, W)."""
        self._shared.clear()
        steps = zip(self.names, self._models, strict=True)
        return {name: model(images, **kwargs) for name, model in steps}


def runs_once(model: nn.Module) -> bool:
    """Return whether tasks can share a run of the trunk: on a highway without blocks in path."""
    backbone = tuned_backbone(model)
    return isinstance(backbone, HighwayBackbone) and not backbone.tuning_config['inpath_blocks']


class _SharedRun:
    """Queues of maps by task: the trunk runs for the first task, the others take from the queue.

    A model may call its backbone several times for an image (sliding windows); all tasks do so in
    the same order.
    """

    def __init__(self, backbone: Any, highways: Sequence[nn.Module]) -> None:
        backbone.require_shared_trunk()
        self._backbone, self._highways = backbone, highways
        self._waiting: list[deque[tuple[Tensor, Maps]]] = [deque() for _ in highways]

    def _forward(self, images: Tensor) -> Sequence[Maps]:
        return self._backbone.forward_highways(images, self._highways)

    def clear(self) -> None:
        """Drop maps that were not taken, as after an error."""
        for queue in self._waiting:
            queue.clear()

    def maps(self, number: int, images: Tensor) -> Maps:
        """Return the maps of task ``number`` for ``images``."""
        if not self._waiting[number]:
            for queue, maps in zip(self._waiting, self._forward(images), strict=True):
                queue.append((images, maps))
        source, maps = self._waiting[number].popleft()
        assert torch.equal(source, images), 'tasks of one model prepare an image alike'
        return maps


class _TaskMaps(nn.Module):
    """Replacement of the backbone in the model of one task."""

    def __init__(self, shared: _SharedRun, number: int) -> None:
        super().__init__()
        self._shared, self._number = shared, number

    def forward(self, images: Tensor) -> Maps:
        """Return maps (B, C_i, H_i, W_i) of an image batch (B, 3, H, W)."""
        return self._shared.maps(self._number, images)


def _replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Return ``model`` with ``new`` instead of ``old``, which may be the model itself."""
    if model is old:
        return new
    for module in model.modules():
        for name, child in module.named_children():
            if child is old:
                setattr(module, name, new)
                return model
    raise AssertionError('the backbone is in the model')
