"""TaskBank: many tasks on one loaded trunk; switching exchanges references, no data is copied."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import nn

from mmqadapter.inference.bank.slots import (
    TensorSlot,
    find_slots,
    frozen_tensors,
    kind_of,
    tensors_in,
    trunk_of,
    versions_of,
)
from mmqadapter.quant import materialize
from mmqadapter.taskfile import load_task


@dataclass(frozen=True)
class _Task:
    """A registered task.

    Attributes:
        contents: Contents of the model's slots, in their order.
        versions: PyTorch's count of in-place changes for each tensor, at registration.
        metadata: Metadata of the task file.
    """

    contents: list[Any]
    versions: list[int]
    metadata: dict[str, Any]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Task:
        # PyTorch counts the changes of a copy from zero; earlier changes have to stay visible.
        contents = copy.deepcopy(self.contents, memo)
        counts = zip(self.versions, versions_of(self.contents), versions_of(contents), strict=True)
        versions = [registered - current + copied for registered, current, copied in counts]
        return _Task(contents, versions, self.metadata)


class TaskBank:
    """Task files in memory on one model, which predicts for one of them at a time.

    Everything in a task file is switched: adapters, what trained inside the trunk (norms, biases,
    blocks), neck, head and running statistics. The frozen trunk is in memory once and never
    changes. After :meth:`use` the model predicts exactly (bit for bit) as a new model after
    :func:`mmqadapter.load_task`.

    A bank is for inference: it puts the model into eval mode and makes it refuse a forward in
    training mode, since an optimizer step would change a task in the bank. To train from a task,
    load it with ``load_task(..., trainable=True)`` into another model. Deep copies of the model are
    independent of the bank, and for inference too. A deep copy of the bank has its own model and
    tasks.

    A bank is not thread-safe: register and switch tasks between forwards, not during one.

    Args:
        model: A detector, segmentor or the like with a wrapped backbone and its trunk loaded, on
            its final device. The first ``use`` replaces all its tensors but those of the trunk.

    Raises:
        ValueError: ``model`` has no wrapped backbone.
    """

    def __init__(self, model: nn.Module) -> None:
        trunk_of(model)
        materialize(model)
        self.model = model.eval()
        self._tasks: dict[str, _Task] = {}
        self._current: str | None = None
        if _refuse_training not in model._forward_pre_hooks.values():
            model.register_forward_pre_hook(_refuse_training)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the registered tasks, in order of registration."""
        return tuple(self._tasks)

    @property
    def current(self) -> str | None:
        """Name of the task in use; None before the first :meth:`use`."""
        return self._current

    @torch.inference_mode(False)
    def register(self, name: str, path: str | os.PathLike) -> dict[str, Any]:
        """Load a task file into memory, on the model's device; the model itself does not change.

        Args:
            name: Name for :meth:`use`.
            path: A task file for the model's trunk and tuning config, with a head of its shapes.

        Returns:
            The file's metadata, such as ``dataset`` with its classes.

        Raises:
            FileNotFoundError: No such file.
            ValueError: ``name`` is in use already, or the file is damaged or does not fit the model
                (see :func:`mmqadapter.load_task`).
        """
        if name in self._tasks:
            raise ValueError(
                f'the bank already has a task {name!r}; remove it first, or use another name.'
            )
        # A copy that shares only the frozen trunk: loading into it leaves the model as it is.
        skeleton = copy.deepcopy(self.model, {id(t): t for t in frozen_tensors(self.model)})
        metadata = load_task(skeleton, path)
        contents = [owner[key] for owner, key in find_slots(skeleton)]
        self._tasks[name] = _Task(contents, versions_of(contents), metadata)
        return metadata

    def use(self, name: str) -> dict[str, Any]:
        """Switch the model to a registered task, in eval mode.

        Returns:
            The metadata of its file.

        Raises:
            ValueError: The bank has no such task, its tensors were changed in place since it was
                registered, or the model was moved or rebuilt. The task in use stays.
        """
        task = self._unchanged(name)
        _install(name, task, self.model)
        self._current = name
        self.model.eval()
        return task.metadata

    def model_of(self, name: str) -> nn.Module:
        """Return another model with a task, in eval mode; it shares all tensors with the bank.

        Raises:
            ValueError: See :meth:`use`.
        """
        task = self._unchanged(name)
        tensors = chain(self.model.parameters(), self.model.buffers())
        model = copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})
        _install(name, task, model)
        return model

    def remove(self, name: str) -> None:
        """Remove a task from the bank; the model keeps the tensors of the task in use.

        Raises:
            ValueError: The bank has no such task.
        """
        self._require(name)
        del self._tasks[name]
        if self._current == name:
            self._current = None

    def nbytes(self, name: str) -> int:
        """Return the bytes of memory that a task takes in addition to the trunk.

        A quantized adapter weight takes 9: its decoded and its latent value (4 each), and its
        code (1).

        Raises:
            ValueError: The bank has no such task.
        """
        tensors = tensors_in(self._require(name).contents)
        return sum(t.nbytes for t in {id(t): t for t in tensors}.values())

    def _require(self, name: str) -> _Task:
        if name not in self._tasks:
            registered = ', '.join(map(repr, self._tasks)) or 'none'
            raise ValueError(f'the bank has no task {name!r}; registered: {registered}.')
        return self._tasks[name]

    def _unchanged(self, name: str) -> _Task:
        task = self._require(name)
        if task.versions != versions_of(task.contents):
            raise ValueError(
                f'the weights of {name!r} were changed in place, as by load_task into the model or '
                'by training; remove the task and register it again.'
            )
        return task


def _refuse_training(model: nn.Module, args: tuple) -> None:
    """Refuse a forward in training mode; a pre-hook, which deep copies of the model share."""
    if model.training:
        raise RuntimeError(
            'this model belongs to a TaskBank, which is for inference; to train, build another '
            'model and start it from a task file (load_task(..., trainable=True)).'
        )


def _install(name: str, task: _Task, model: nn.Module) -> None:
    slots = list(find_slots(model))
    _check_model(name, task, slots)
    for (owner, key), content in zip(slots, task.contents, strict=True):
        owner[key] = content


def _check_model(name: str, task: _Task, slots: list[TensorSlot]) -> None:
    """Check that the model has the slots that it had when the task was registered."""
    present = [kind_of(owner[key]) for owner, key in slots]
    registered = [kind_of(content) for content in task.contents]
    if len(present) != len(registered) or any(
        now != then for now, then in zip(present, registered, strict=True) if now and then
    ):
        raise ValueError(
            f'the model was moved, cast or rebuilt since {name!r} was registered; make a new bank '
            'and register its tasks again.'
        )
