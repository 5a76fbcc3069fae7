"""Distillation of class scores from a trained model."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from mmqadapter.checkpoints.load import load_weights
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.registry import HOOKS
from mmqadapter.utils.model_wrapping import unwrap_model
from mmqadapter.utils.random_state import seeded_everywhere

LOSS = 'loss_distillation'


def class_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the divergence of the class distributions of two models, averaged over positions.

    It is KL(teacher, student) of the softmax of scores / T, times T ** 2, which keeps the size of
    its gradients at any temperature (arXiv 1503.02531, section 2).

    Args:
        student: Class scores of the model that trains, (B, classes) or (B, classes, H, W).
        teacher: Class scores of the other model, of the same shape.
        temperature: T; more than 1 gives improbable classes more weight.
    """
    own = functional.log_softmax(student.float() / temperature, dim=1)
    target = functional.log_softmax(teacher.float() / temperature, dim=1)
    terms = functional.kl_div(own, target, reduction='none', log_target=True)
    return terms.sum(1).mean() * temperature**2


@HOOKS.register_module()
class DistillationHook(Hook):
    """Hook that adds the divergence from a teacher's class scores to the training losses.

    The teacher is a trained model, such as one with wider adapters in float. It sees the same
    images, computes without gradients in eval mode, and is not part of checkpoints. Both models
    have a layer whose outputs are scores for a softmax over classes. All pixels count, also
    unlabeled ones.

    Args:
        config: The teacher's config.
        weights: Its task file, or a checkpoint.
        layer: Name of the layer, such as ``'head.fc'`` of a classifier or
            ``'decode_head.conv_seg'`` of a segmentor.
        loss_weight: Factor of the loss.
        temperature: See :func:`class_divergence`.

    Raises:
        ValueError: ``loss_weight`` or ``temperature`` is not a positive number.
    """

    def __init__(
        self,
        config: str | os.PathLike,
        weights: str | os.PathLike,
        layer: str,
        loss_weight: float = 1.0,
        temperature: float = 2.0,
    ) -> None:
        for name, value in (('loss_weight', loss_weight), ('temperature', temperature)):
            if not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise ValueError(
                    f'{name}={value!r} is invalid: expected a positive number; to train without a '
                    'teacher, leave DistillationHook out.'
                )
        self.config, self.weights, self.layer = config, weights, layer
        self.loss_weight, self.temperature = loss_weight, temperature
        self._handles: list[RemovableHandle] = []

    def before_run(self, runner: Runner) -> None:
        """Remove what a training that an error ended has left in the model.

        Raises:
            ValueError: custom_hooks lists DistillationHook twice.
        """
        self._detach()
        if sum(isinstance(hook, DistillationHook) for hook in runner.hooks) > 1:
            raise ValueError('custom_hooks lists DistillationHook twice; keep one teacher.')

    def before_train(self, runner: Runner) -> None:
        """Load the teacher, and let the model add the loss.

        Raises:
            FileNotFoundError: The teacher's config or weights do not exist.
            ValueError: The model is a detector or has no softmax over classes, a model lacks the
                layer, or the teacher's weights, classes or normalization do not fit.
        """
        model = unwrap_model(runner.model)
        self._check_model(runner, model)
        self._teacher = self._load_teacher(runner, model)
        self._scores = _LayerOutputs(model, self.layer)
        self._target = _LayerOutputs(self._teacher, self.layer)
        self._handles = [
            self._scores.handle,
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            model.register_forward_hook(self._add_loss, with_kwargs=True),
        ]
        runner.logger.info(
            f'The outputs of {self.layer!r} are distilled from {str(self.weights)!r}, with a loss '
            f'weight of {self.loss_weight} and temperature {self.temperature}.'
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check that the loss was added.

        Raises:
            ValueError: The losses lack it.
        """
        if LOSS not in (outputs or {}):
            raise ValueError(
                f'the losses of this step lack {LOSS}, so nothing was distilled: the model was not '
                "called as model(..., mode='loss'), or compiled without its hooks. Set "
                'compile=False, or leave DistillationHook out.'
            )

    def after_train(self, runner: Runner) -> None:
        """Remove what was added to the model, and the teacher."""
        self._detach()

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._teacher = [], nn.Identity()

    def _check_model(self, runner: Runner, model: nn.Module) -> None:
        if runner.cfg.get('default_scope') == 'mmdet':
            raise ValueError(
                'DistillationHook compares class scores of classifiers and segmentors; a detector '
                'scores other boxes than its teacher. Leave it out.'
            )
        _require_layer(model, self.layer)
        head = model.get_submodule(self.layer.partition('.')[0])
        sigmoid = [vars(m)['use_sigmoid'] for m in head.modules() if 'use_sigmoid' in vars(m)]
        if sigmoid and all(sigmoid):
            raise ValueError(
                f'layer={self.layer!r} is invalid: its head scores each class on its own '
                '(use_sigmoid=True), and DistillationHook compares a softmax over classes.'
            )

    def _load_teacher(self, runner: Runner, model: nn.Module) -> nn.Module:
        scope = runner.cfg.get('default_scope') or 'mmengine'
        try:
            # Neither random numbers nor the default scope of the training change.
            with seeded_everywhere(0), DefaultScope.overwrite_default_scope(scope):
                teacher = revert_sync_batchnorm(build_model(load_config(self.config)))
                meta = load_weights(teacher, self.weights, complete=True)
            _require_layer(teacher, self.layer)
            _check_same('classes', meta.get('classes'), _train_classes(runner))
            _check_same('data_preprocessor', _normalization(teacher), _normalization(model))
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f'teacher of DistillationHook: {error}') from error
        return teacher.requires_grad_(False).to(next(model.parameters()).device).eval()

    def _begin(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        self._scores.record(kwargs.get('mode') == 'loss')

    def _add_loss(self, model: nn.Module, args: Any, kwargs: Any, losses: Any) -> Any:
        if kwargs.get('mode') != 'loss':
            return losses
        self._target.record()
        with torch.no_grad():
            self._teacher(*args, **{**kwargs, 'mode': 'tensor'})
        student, teacher = self._scores.take(), self._target.take()
        self._check_scores(student, teacher)
        loss = class_divergence(student[0], teacher[0], self.temperature)
        return {**losses, LOSS: self.loss_weight * loss}

    def _check_scores(self, student: Sequence[Any], teacher: Sequence[Any]) -> None:
        shapes = [[_shape(output) for output in outputs] for outputs in (student, teacher)]
        alone = len(student) == 1 and shapes[0] == shapes[1] and isinstance(student[0], Tensor)
        if not alone or student[0].ndim < 2 or student[0].shape[1] < 2:
            raise ValueError(
                f'layer={self.layer!r} gave {shapes[0]} in this step, that of the teacher '
                f'{shapes[1]}: expected one output each, of equal shape, with at least two classes '
                'in dimension 1; name the layer that gives the class scores.'
            )


class _LayerOutputs:
    """Outputs of a layer, recorded on request.

    Args:
        model: The model.
        layer: Name of its layer.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self._outputs: list[Any] = []
        self._records = False
        self.handle = model.get_submodule(layer).register_forward_hook(self._add)

    def _add(self, layer: nn.Module, args: Any, output: Any) -> None:
        if self._records:
            self._outputs.append(output)

    def record(self, on: bool = True) -> None:
        """Forget all outputs; record from now on, or no longer."""
        self._outputs, self._records = [], on

    def take(self) -> list[Any]:
        """Return the recorded outputs, and record no longer."""
        outputs = self._outputs
        self.record(False)
        return outputs


def _require_layer(model: nn.Module, layer: str) -> None:
    names = [name for name, module in model.named_modules() if name]
    if layer not in names:
        kinds = (nn.Linear, nn.Conv2d)
        heads = [name for name in names if isinstance(model.get_submodule(name), kinds)]
        heads = [name for name in heads if not name.startswith('backbone.')]
        raise ValueError(
            f'layer={layer!r} is not a layer of {type(model).__name__}; expected one of {heads}.'
        )


def _shape(output: Any) -> Any:
    return tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__


def _train_classes(runner: Runner) -> list[str] | None:
    dataset = runner.train_dataloader.dataset
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return None if classes is None else list(classes)


def _normalization(model: nn.Module) -> dict[str, Any]:
    """Return how a model changes the values of images: mean, deviation, order of channels."""
    preprocessor: Any = getattr(model, 'data_preprocessor', nn.Identity())
    values = {name: buffer.flatten().tolist() for name, buffer in preprocessor.named_buffers()}
    order = {name: vars(preprocessor).get(name) for name in ('to_rgb', '_channel_conversion')}
    return {**values, **order}


def _check_same(name: str, teacher: Any, own: Any) -> None:
    if teacher != own and teacher is not None and own is not None:
        raise ValueError(
            f'its {name} differ from those of this training: {teacher} and {own}; expected the '
            'same in the same order. Train a teacher on the same data.'
        )
