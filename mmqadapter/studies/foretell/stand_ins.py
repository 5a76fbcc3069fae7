"""Functions of mmdet and mmcv that read values, and what runs in their place without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from mmqadapter.studies.foretell.proposals import proposals

# Operators of mmcv that write into tensors of the caller.
WRITING = (
    'roi_align_forward', 'roi_align_backward',
    'sigmoid_focal_loss_forward', 'sigmoid_focal_loss_backward',
    'deform_conv_forward', 'deform_conv_backward_input', 'deform_conv_backward_parameters',
    'modulated_deform_conv_forward', 'modulated_deform_conv_backward',
)  # fmt: skip


@contextmanager
def without_fingerprints() -> Iterator[None]:
    """Build trunks whose weights have no content to take a fingerprint of."""
    with patch('mmqadapter.backbones.frozen.fingerprint', return_value=''):
        yield


@contextmanager
def stand_ins(model: nn.Module) -> Iterator[None]:
    """Replace what reads values, so that a training step runs without them.

    - mmcv's operators write nothing to tensors without content. What they need within themselves is
      not counted.
    - Non-maximum suppression of region proposals removes none; the cap on their number stays.
    - Region heads get the boxes of :func:`.proposals` in place of computed ones, so that samplers
      are at their caps: the largest number of positive regions, and of all.
    - A cascade gives each stage the boxes of the one before.
    """
    with ExitStack() as stack:
        for replaced in _replaced():
            stack.enter_context(patch.object(*replaced))
        head = getattr(model, 'roi_head', None)
        if head is not None:
            stack.enter_context(patch.object(head, 'loss', _with_proposals(head.loss)))
        yield


def _replaced() -> Iterator[tuple[Any, str, Callable]]:
    try:
        operators = import_module('mmcv._ext')
        heads = import_module('mmdet.models.dense_heads')
        bbox_heads = import_module('mmdet.models.roi_heads.bbox_heads')
    except ImportError:
        return
    for name in WRITING:
        yield operators, name, _writing(getattr(operators, name))
    for head in (heads.RPNHead, heads.base_dense_head.BaseDenseHead):
        yield head, '_bbox_post_process', _capped
    yield bbox_heads.BBoxHead, 'refine_bboxes', _not_refined


def _writing(operator: Callable[..., None]) -> Callable[..., None]:
    def stand_in(*args: Any, **kwargs: Any) -> None:
        if not any(isinstance(value, FakeTensor) for value in (*args, *kwargs.values())):
            operator(*args, **kwargs)

    return stand_in


def _capped(head: Any, results: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
    return results[: cfg.get('max_per_img', len(results))]


def _not_refined(head: Any, sampled: Any, results: Any, meta: Any) -> list:
    from mmengine.structures import InstanceData

    def boxes(result: Any) -> Tensor:
        return torch.cat([result.pos_priors[result.pos_is_gt == 0], result.neg_priors])

    return [InstanceData(bboxes=boxes(result)) for result in sampled]


def _with_proposals(loss: Callable[..., dict]) -> Callable[..., dict]:
    def stand_in(features: Any, results: Any, samples: Any, *args: Any, **kwargs: Any) -> dict:
        from mmengine.structures import InstanceData

        known = [
            InstanceData(
                bboxes=proposals(sample.gt_instances.bboxes, len(result), *sample.img_shape)
            )
            for result, sample in zip(results, samples, strict=True)
        ]
        return loss(features, known, samples, *args, **kwargs)

    return stand_in
