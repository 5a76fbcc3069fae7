"""Distillation of class scores from a trained model."""

from __future__ import annotations

import os
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import revert_sync_batchnorm
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


def class_divergence(scores: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the divergence of the class distributions of two models, averaged over positions.

    It is KL(teacher, student) of the softmax of scores / T, times T ** 2, which keeps the size of
    its gradients at any temperature (arXiv 1503.02531, section 2).

    Args:
        scores: Scores of the model that trains, (B, classes) or (B, classes, H, W).
        teacher: Scores of the other model, of the same shape.
        temperature: T; more than 1 gives improbable classes more weight.
    """
    student = functional.log_softmax(scores.float() / temperature, dim=1)
    target = functional.log_softmax(teacher.float() / temperature, dim=1)
    terms = functional.kl_div(student, target, reduction='none', log_target=True)
    return terms.sum(1).mean() * temperature**2


@HOOKS.register_module()
class DistillationHook(Hook):
    """Hook that adds the divergence from a teacher's class scores to the training losses.

    The teacher is a trained model, such as the float twin of 1-bit adapters. It sees the same
    images, computes without gradients in eval mode, and is not part of checkpoints. The scores are
    outputs of the same layer in both models. All pixels count, also unlabeled ones.

    Args:
        config: The teacher's config.
        task: Its task file or checkpoint.
        layer: Name of the layer whose outputs are the class scores, such as ``'head.fc'`` of a
            classifier or ``'decode_head.conv_seg'`` of a segmentor.
        weight: Factor of the loss.
        temperature: See :func:`class_divergence`.

    Raises:
        ValueError: ``weight`` or ``temperature`` is not positive.
    """

    def __init__(
        self,
        config: str | os.PathLike,
        task: str | os.PathLike,
        layer: str,
        weight: float = 1.0,
        temperature: float = 2.0,
    ) -> None:
        for name, value in (('weight', weight), ('temperature', temperature)):
            if not value > 0:
                raise ValueError(
                    f'{name}={value} is invalid: expected a positive number; to train without a '
                    'teacher, leave DistillationHook out.'
                )
        self.config, self.task, self.layer = config, task, layer
        self.weight, self.temperature = weight, temperature
        self._handles: list[RemovableHandle] = []

    def before_train(self, runner: Runner) -> None:
        """Load the teacher, and let the model add the loss.

        Raises:
            FileNotFoundError: The teacher's config or task file does not exist.
            ValueError: The model is a detector, a model lacks the layer, or the teacher has other
                classes or normalizes images in another way.
        """
        if runner.cfg.get('default_scope') == 'mmdet':
            raise ValueError(
                'DistillationHook compares class scores of classifiers and segmentors; a detector '
                'scores other boxes than its teacher. Leave it out.'
            )
        model = unwrap_model(runner.model)
        scores = _LayerOutputs(model, self.layer)
        self._teacher = self._load_teacher(runner, model)
        self._teacher_scores = _LayerOutputs(self._teacher, self.layer)
        self._scores = scores
        self._handles = [model.register_forward_hook(self._add_loss, with_kwargs=True)]
        runner.logger.info(
            f'The outputs of {self.layer!r} are distilled from {str(self.task)!r}, with weight '
            f'{self.weight} and temperature {self.temperature}.'
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check that the loss was added; a compiled model may ignore hooks.

        Raises:
            ValueError: The losses lack it.
        """
        if LOSS not in (outputs or {}):
            raise ValueError(
                f'the losses of this step lack {LOSS}, so nothing was distilled: the model ignores '
                'hooks. Set compile=False.'
            )

    def after_train(self, runner: Runner) -> None:
        """Remove what was added to the model."""
        for handle in (*self._handles, self._scores.handle):
            handle.remove()

    def _load_teacher(self, runner: Runner, model: nn.Module) -> nn.Module:
        with seeded_everywhere(0):  # the random numbers of the training stay the same
            teacher = revert_sync_batchnorm(build_model(load_config(self.config)))
        meta = load_weights(teacher, self.task)
        _check_same('classes', meta.get('classes'), _train_classes(runner))
        _check_same('data_preprocessor', _normalization(teacher), _normalization(model))
        return teacher.requires_grad_(False).to(next(model.parameters()).device).eval()

    def _add_loss(self, model: nn.Module, args: Any, kwargs: Any, losses: Any) -> Any:
        scores = self._scores.take()
        if kwargs.get('mode') != 'loss':
            return losses
        with torch.no_grad():
            self._teacher(*args, **{**kwargs, 'mode': 'tensor'})
        target = self._teacher_scores.take()
        self._check_scores(scores, target)
        loss = class_divergence(scores[0], target[0], self.temperature)
        return {**losses, LOSS: self.weight * loss}

    def _check_scores(self, scores: list[Tensor], target: list[Tensor]) -> None:
        shapes = [[tuple(output.shape) for output in outputs] for outputs in (scores, target)]
        if len(scores) != 1 or shapes[0] != shapes[1] or scores[0].shape[1:2] in ((), (1,)):
            raise ValueError(
                f'layer={self.layer!r} gave {shapes[0]} in this step, that of the teacher '
                f'{shapes[1]}: expected one output each, of equal shape, with at least two classes '
                'in dimension 1; name the layer that gives the class scores.'
            )


class _LayerOutputs:
    """Outputs of a layer in training mode, or of a model that only predicts.

    Args:
        model: The model.
        layer: Name of its layer.

    Raises:
        ValueError: The model has no such layer.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        modules = dict(model.named_modules())
        if not layer or layer not in modules:
            raise ValueError(
                f'layer={layer!r} is not a layer of {type(model).__name__}; expected one of '
                f'{_layers_of_heads(model)}.'
            )
        self._outputs: list[Tensor] = []
        self.handle = modules[layer].register_forward_hook(self._add)

    def _add(self, layer: nn.Module, args: Any, output: Tensor) -> None:
        self._outputs.append(output)

    def take(self) -> list[Tensor]:
        """Return the outputs since the last call."""
        outputs, self._outputs = self._outputs, []
        return outputs


def _layers_of_heads(model: nn.Module) -> list[str]:
    """Return the names of linear and convolutional layers outside the backbone."""
    kinds = (nn.Linear, nn.Conv2d)
    names = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    return [name for name in names if not name.startswith('backbone.')]


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
            f'{name} of the teacher differ from those of this training: {teacher} and {own}; '
            'expected the same in the same order. Train a teacher on the same data.'
        )
