"""TaskBank: many tasks on one loaded trunk; a switch exchanges references, not numbers."""

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
        contents: What belongs into the model's places, in their order.
        versions: PyTorch's count of changes in place, of each tensor when it was registered.
        metadata: Of the task file.
    """

    contents: list[Any]
    versions: list[int]
    metadata: dict[str, Any]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Task:
        # PyTorch counts the changes of a copy anew; what was changed before stays a change.
        contents = copy.deepcopy(self.contents, memo)
        counts = zip(self.versions, versions_of(self.contents), versions_of(contents), strict=True)
        versions = [kept - now + new for kept, now, new in counts]
        return _Task(contents, versions, self.metadata)


class TaskBank:
    """Task files on one model, in memory at once; the model predicts for one of them at a time.

    Everything that a task file holds is switched: adapters, what trained inside the trunk (norms,
    biases, blocks), neck, head and running statistics. The trunk is there once and never touched.
    After :meth:`use` the model predicts, bit for bit, as a fresh one after
    :func:`mmqadapter.load_task`.

    A bank is for inference: it puts the model into eval mode, and from then on a forward in
    training mode is refused, since a step of an optimiser would change a task in the bank. To
    train from a task, load it with ``load_task(..., trainable=True)`` into another model. Deep
    copies of the model are independent of the bank, and for inference as well. A deep copy of the
    bank holds a model and tasks of its own.

    Not for several threads: register and switch between forwards, not during one.

    Args:
        model: A detector, segmentor or the like with a wrapped backbone and its trunk loaded, on
            its final device. What it holds besides the trunk is replaced by the first ``use``.

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
        """Registered tasks, in order of registration."""
        return tuple(self._tasks)

    @property
    def current(self) -> str | None:
        """The task in use; None before the first :meth:`use`."""
        return self._current

    @torch.inference_mode(False)
    def register(self, name: str, path: str | os.PathLike) -> dict[str, Any]:
        """Read a task file and keep it in memory, on the model's device; the model stays as it is.

        Args:
            name: What :meth:`use` calls it.
            path: A task file of this trunk and this tuning config, with heads of these shapes.

        Returns:
            The file's metadata, such as ``dataset`` with its classes.

        Raises:
            FileNotFoundError: No such file.
            ValueError: ``name`` is taken, or the file is damaged or does not fit the model (see
                :func:`mmqadapter.load_task`).
        """
        if name in self._tasks:
            raise ValueError(
                f'the bank has a task {name!r}; remove it first, or take another name.'
            )
        # A skeleton around the same trunk: what is loaded into it cannot disturb the model.
        skeleton = copy.deepcopy(self.model, {id(t): t for t in frozen_tensors(self.model)})
        metadata = load_task(skeleton, path)
        contents = [owner[key] for owner, key in find_slots(skeleton)]
        self._tasks[name] = _Task(contents, versions_of(contents), metadata)
        return metadata

    def use(self, name: str) -> dict[str, Any]:
        """Let the model predict for a registered task from now on, in eval mode.

        Returns:
            The metadata of its file.

        Raises:
            ValueError: No such task, the task was changed in place meanwhile, or the model was
                moved or rebuilt; the task in use stays.
        """
        task = self._sound(name)
        _put(name, task, self.model)
        self._current = name
        self.model.eval()
        return task.metadata

    def model_of(self, name: str) -> nn.Module:
        """Another model with the weights of a task, in eval mode; all tensors are shared.

        Raises:
            ValueError: See :meth:`use`.
        """
        task = self._sound(name)
        tensors = chain(self.model.parameters(), self.model.buffers())
        model = copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})
        _put(name, task, model)
        return model

    def remove(self, name: str) -> None:
        """Forget a task; the model keeps the weights of the one in use.

        Raises:
            ValueError: No such task.
        """
        self._require(name)
        del self._tasks[name]
        if self._current == name:
            self._current = None

    def nbytes(self, name: str) -> int:
        """Bytes of memory that a task takes, the trunk aside.

        Of a quantised weight it is 9: decoded and latent value (4 each), and its code (1).

        Raises:
            ValueError: No such task.
        """
        tensors = tensors_in(self._require(name).contents)
        return sum(t.nbytes for t in {id(t): t for t in tensors}.values())

    def _require(self, name: str) -> _Task:
        if name not in self._tasks:
            known = ', '.join(map(repr, self._tasks)) or 'none'
            raise ValueError(f'the bank has no task {name!r}; registered: {known}.')
        return self._tasks[name]

    def _sound(self, name: str) -> _Task:
        task = self._require(name)
        if task.versions != versions_of(task.contents):
            raise ValueError(
                f'the weights of {name!r} were changed in place, as load_task into the model or '
                'training does; remove it and register it again.'
            )
        return task


def _refuse_training(model: nn.Module, args: tuple) -> None:
    """Hook before a forward; a function, which a deep copy of the model shares."""
    if model.training:
        raise RuntimeError(
            'this model belongs to a TaskBank, which is for inference; to train, build another '
            'model and start it from a task file (load_task(..., trainable=True)).'
        )


def _put(name: str, task: _Task, model: nn.Module) -> None:
    slots = list(find_slots(model))
    _check_model(name, task, slots)
    for (owner, key), content in zip(slots, task.contents, strict=True):
        owner[key] = content


def _check_model(name: str, task: _Task, slots: list[TensorSlot]) -> None:
    """Refuse a model that is not what it was when the task was registered."""
    found = [kind_of(owner[key]) for owner, key in slots]
    kept = [kind_of(content) for content in task.contents]
    if len(found) != len(kept) or any(
        one != other for one, other in zip(found, kept, strict=True) if one and other
    ):
        raise ValueError(
            f'the model was moved, cast or rebuilt since {name!r} was registered; make a new bank '
            'and register its tasks again.'
        )
