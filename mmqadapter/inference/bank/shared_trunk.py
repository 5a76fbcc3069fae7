"""TasksTogether: one run of a highway's trunk serves several tasks."""

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
    """Predictions of several tasks of a bank, for each image one forward of the trunk.

    On a highway the trunk does not depend on the task: each task adds its highway, neck and head.
    Predictions are those of :meth:`TaskBank.use` and ``test_step``. The tasks of the moment count:
    what the bank registers or removes later changes nothing here.

    Args:
        bank: Of a model with a ``HighwayBackbone``, without blocks in path.
        names: Registered tasks; all of the bank where none are named.

    Raises:
        ValueError: No task, an unknown one, or a backbone whose trunk depends on the task.
    """

    def __init__(self, bank: TaskBank, names: Sequence[str] = ()) -> None:
        self.names = tuple(names or bank.names)
        if not self.names:
            raise ValueError('the bank has no tasks; register some first.')
        self._models: list[Any] = [bank.model_of(name) for name in self.names]
        backbones: list[Any] = [tuned_backbone(model) for model in self._models]
        if not isinstance(backbones[0], HighwayBackbone):
            raise ValueError(
                f'{type(backbones[0]).__name__}: its trunk runs differently for each task; tasks '
                'of a HighwayBackbone can share a run. Use TaskBank.use to switch tasks.'
            )
        highways = [backbone.adapters['highway'] for backbone in backbones]
        self._shared = _SharedRun(backbones[0], highways)
        for number, (model, backbone) in enumerate(zip(self._models, backbones, strict=True)):
            self._models[number] = _with(model, backbone, _MapsOf(self._shared, number))

    @torch.no_grad()
    def test_step(self, data: dict[str, Any]) -> dict[str, Any]:
        """What ``model.test_step`` gives for a batch, by task.

        Args:
            data: Of a data loader, before preprocessing; stays as it is.
        """
        self._shared.clear()
        steps = zip(self.names, self._models, strict=True)
        return {name: model.test_step(copy.deepcopy(data)) for name, model in steps}

    @torch.no_grad()
    def forward(self, images: Tensor, **kwargs: Any) -> dict[str, Any]:
        """What ``model(images, **kwargs)`` gives, by task; images (B, 3, H, W)."""
        self._shared.clear()
        steps = zip(self.names, self._models, strict=True)
        return {name: model(images, **kwargs) for name, model in steps}


def runs_once(model: nn.Module) -> bool:
    """Whether one run of the trunk serves all tasks of a model: a highway, no block in path."""
    backbone = tuned_backbone(model)
    return isinstance(backbone, HighwayBackbone) and not backbone.tuning_config['inpath_blocks']


class _SharedRun:
    """Runs the trunk when the first task asks, and keeps the maps until the others ask.

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
        """Forget maps that nobody asked for."""
        for queue in self._waiting:
            queue.clear()

    def maps(self, number: int, images: Tensor) -> Maps:
        """Maps of a task."""
        if not self._waiting[number]:
            for queue, maps in zip(self._waiting, self._forward(images), strict=True):
                queue.append((images, maps))
        seen, maps = self._waiting[number].popleft()
        assert torch.equal(seen, images), 'tasks of one model prepare an image alike'
        return maps


class _MapsOf(nn.Module):
    """Stands for the backbone in the model of one task."""

    def __init__(self, shared: _SharedRun, number: int) -> None:
        super().__init__()
        self._shared, self._number = shared, number

    def forward(self, images: Tensor) -> Maps:
        """Maps (B, C_i, H_i, W_i) of an image batch (B, 3, H, W)."""
        return self._shared.maps(self._number, images)


def _with(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """``model`` with ``new`` in the place of ``old``, which may be all of it."""
    if model is old:
        return new
    for module in model.modules():
        for name, child in module.named_children():
            if child is old:
                setattr(module, name, new)
                return model
    raise AssertionError('the backbone was found in the model')
