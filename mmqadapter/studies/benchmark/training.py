"""Training steps of a model on a device, timed as forward, backward and optimizer."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn

from mmqadapter.engine.compat import non_reentrant_checkpoints
from mmqadapter.engine.precision import CpuAmpOptimWrapper
from mmqadapter.studies.benchmark.batches import Batch
from mmqadapter.studies.benchmark.memory import synchronize
from mmqadapter.utils.accounting import saved_for_backward
from mmqadapter.utils.live_bytes import LiveBytes
from mmqadapter.utils.step_meter import StepSeconds

ADAMW = dict(type='AdamW', weight_decay=0.05)
MOMENTS = 2  # of AdamW
FIRST_LOSS_SCALE = 1024.0  # low enough that gradients do not overflow, which would skip a step


class Training:
    """Training of a model at a learning rate of zero, so that all steps are alike.

    The optimizer (all trainable parameters in one group) and the clipping of gradients are those of
    the config. Mixed precision is mmengine's on a GPU (float16 unless the config sets another
    dtype) and bfloat16 on a CPU.

    Args:
        model: Detector or segmentor; it is moved to ``device``.
        batches: Batches to cycle through; they are not moved.
        cfg: Config of the model.
        device: Device to train on.
        amp: Mixed precision.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        cfg: Config,
        device: torch.device,
        amp: bool,
    ) -> None:
        self.model: Any = model.to(device).train()
        self.device = device
        self.optimizer = _build_optimizer(model, cfg, device, amp)
        self._batches: Iterator[Batch] = cycle(batches)

    def step(self) -> StepSeconds:
        """Take one step and return its times."""
        batch = self._next_batch()
        marks = [self._now()]
        loss = self._loss(batch)
        marks.append(self._now())
        self.optimizer.backward(loss)
        marks.append(self._now())
        self.optimizer.step()
        self.optimizer.zero_grad()
        marks.append(self._now())
        return StepSeconds(
            *(after - before for before, after in zip(marks, marks[1:], strict=False))
        )

    def saved_bytes(self) -> int:
        """Return the activation memory of one step: bytes saved for backward without parameters."""
        batch = self._next_batch()
        with saved_for_backward(self.model) as saved:
            self._loss(batch)
        return saved.total

    def peak_live_bytes(self) -> int:
        """Take one step and return the peak of the bytes of all tensors that live in it.

        See :class:`mmqadapter.utils.live_bytes.LiveBytes`. Before the first step the optimizer has
        no state yet.
        """
        states = self.optimizer.optimizer.state.values()
        moments = [t for state in states for t in state.values() if isinstance(t, Tensor)]
        with LiveBytes([*self._weights(), *moments]) as live:
            self.step()
        return live.peak

    def resident_bytes(self) -> int:
        """Return the bytes of parameters, buffers, gradients, and an optimizer with two moments."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return sum(t.nbytes for t in self._weights()) + (1 + MOMENTS) * sum(
            p.nbytes for p in trained
        )

    def _weights(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.model.buffers()]

    def _next_batch(self) -> Batch:
        # Copied because preprocessing pads the ground truth in place.
        return self.model.data_preprocessor(copy.deepcopy(next(self._batches)), True)

    def _loss(self, batch: Batch) -> Tensor:
        with self._precision(), non_reentrant_checkpoints():
            losses = self.model(**batch, mode='loss')
        return self.model.parse_losses(losses)[0]

    def _precision(self) -> AbstractContextManager:
        return self.optimizer.optim_context(self.model)

    def _now(self) -> float:
        synchronize(self.device)
        return time.perf_counter()


def _build_optimizer(
    model: nn.Module, cfg: Config, device: torch.device, amp: bool
) -> OptimWrapper:
    wrapper = cfg.get('optim_wrapper') or {}
    trained = [p for p in model.parameters() if p.requires_grad]
    config = {**(wrapper.get('optimizer') or ADAMW), 'params': trained, 'lr': 0.0}
    optimizer, clip_grad = OPTIMIZERS.build(config), wrapper.get('clip_grad')
    if not amp or device.type == 'cpu':
        kind = CpuAmpOptimWrapper if amp else OptimWrapper
        return kind(optimizer, clip_grad=clip_grad)
    scale = dict(init_scale=FIRST_LOSS_SCALE)
    dtype = wrapper.get('dtype')
    return AmpOptimWrapper(loss_scale=scale, dtype=dtype, optimizer=optimizer, clip_grad=clip_grad)
