"""Peak memory of a training step, foretold without the memory and without a GPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor

from mmqadapter.engine.precision import CpuAmpOptimWrapper
from mmqadapter.studies.benchmark.batches import Batch, batch_source
from mmqadapter.studies.benchmark.methods import Method
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.foretell.gpu_rules import gpu_rules
from mmqadapter.studies.foretell.outline import REMEDY, Outline, UnknownValueError
from mmqadapter.studies.foretell.stand_ins import stand_ins, without_fingerprints
from mmqadapter.studies.report.settings import Settings

# In errors of torch where code outside it reads a tensor.
READS_VALUES = ('data pointer', 'data_ptr', 'tensor subclasses', 'meta tensor')


class OutlinedTraining(Training):
    """Training of a model without content, with the mixed precision of a GPU."""

    def __init__(self, *args: Any, on_gpu: bool) -> None:
        super().__init__(*args)
        if on_gpu:
            for group in self.optimizer.optimizer.param_groups:
                group['foreach'] = True  # as PyTorch chooses there
        self._fill_optimizer()

    def _fill_optimizer(self) -> None:
        """Take a step without a forward, after which the optimizer has its state."""
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _next_batch(self) -> Batch:
        batch = next(self._batches)
        samples = copy.deepcopy(batch['data_samples'])  # preprocessing pads the ground truth
        batch = {'inputs': list(batch['inputs']), 'data_samples': samples}
        return self.model.data_preprocessor(batch, True)

    def _precision(self) -> Any:
        return torch.autocast(
            'cpu', torch.float16, enabled=isinstance(self.optimizer, CpuAmpOptimWrapper)
        )


class OutlinedModel:
    """Model of a method, without content, whose training steps cost seconds.

    Args:
        cfg: Result of :func:`mmqadapter.studies.benchmark.model.plain_config`.
        method: Method that tunes the backbone.
        on_gpu: Foretell for a GPU; otherwise for a CPU, where optimizers work on one weight after
            another, and the focal loss is made of many operations.

    Attributes:
        trained_bytes: Bytes of the parameters that train.
        frozen_bytes: Bytes of the other parameters and of buffers.

    Raises:
        ValueError: The method does not fit the backbone.
    """

    def __init__(self, cfg: Config, method: Method, on_gpu: bool = True) -> None:
        init_default_scope(cfg.get('default_scope') or 'mmengine')
        self._cfg, self._on_gpu, self._outline = cfg, on_gpu, Outline()
        config = copy.deepcopy(cfg.model)
        config.backbone = method.change(config.backbone)
        with without_fingerprints(), self._outline:
            model: Any = revert_sync_batchnorm(MODELS.build(config))
            self._outline.outline_weights(model)
        self.model = model
        trained = [p for p in model.parameters() if p.requires_grad]
        weights = [*model.parameters(), *model.buffers()]
        self.trained_bytes = sum(p.nbytes for p in trained)
        self.frozen_bytes = sum(t.nbytes for t in weights) - self.trained_bytes

    @property
    def resident_bytes(self) -> int:
        """Bytes of weights, gradients and two moments of each weight that trains."""
        return self.frozen_bytes + 4 * self.trained_bytes

    def peak_bytes(self, settings: Settings) -> int:
        """Return the peak of the bytes of all tensors that live in a training step.

        Args:
            settings: Result of :meth:`.Settings.completed`.

        Raises:
            UnknownValueError: Sizes in a step of this model depend on values that it computes.
            ValueError: Batches cannot be generated for the config.
        """
        with self.training(settings) as training:
            return training.peak_live_bytes()

    @contextmanager
    def training(self, settings: Settings) -> Iterator[OutlinedTraining]:
        """Yield a training on a generated batch, within all that replaces content."""
        batch = self._batch(settings)
        device = torch.device('cpu')
        with ExitStack() as stack:
            if self._on_gpu:
                stack.enter_context(gpu_rules())
            stack.enter_context(stand_ins(self.model))
            # Without content a model is on any device, and torch cannot move it.
            stack.enter_context(patch.object(self.model, 'to', return_value=self.model))
            stack.enter_context(readable_errors())
            stack.enter_context(self._outline)
            yield OutlinedTraining(
                self.model, [batch], self._cfg, device, settings.amp, on_gpu=self._on_gpu
            )

    def _batch(self, settings: Settings) -> Batch:
        (batch,) = batch_source(self._cfg, settings)(1)
        inputs, samples = batch['inputs'][0], batch['data_samples'][0]
        instances = samples.get('gt_instances')
        if instances is not None and 'masks' in instances:
            from mmqadapter.studies.foretell.masks import OutlineMasks

            masks = instances.masks
            instances.masks = OutlineMasks(masks.masks, masks.height, masks.width)
        images = range(settings.batch_size)
        return {
            'inputs': [self._outlined(inputs) for _ in images],
            'data_samples': [copy.deepcopy(samples) for _ in images],
        }

    def _outlined(self, tensor: Tensor) -> Tensor:
        with self._outline:
            return self._outline.outline(tensor)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Say in one line that code outside PyTorch asked for values.

    Raises:
        UnknownValueError: In place of the errors of torch that mean it.
    """
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if not any(text in str(error) for text in READS_VALUES):
            raise
        raise UnknownValueError(
            f'a step that reads computed values outside PyTorch cannot be foretold; {REMEDY}'
        ) from error
