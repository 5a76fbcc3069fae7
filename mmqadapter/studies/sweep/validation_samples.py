"""Validation images with their ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from pycocotools import mask as coco_mask

from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.inference import Prediction


@dataclass(frozen=True)
class Instance:
    """Instance in an image.

    Attributes:
        label: Index of the class.
        box: Left, top, right, bottom in pixels.
        mask: Boolean mask (H, W); None if only the box is known.
    """

    label: int
    box: tuple[float, float, float, float]
    mask: np.ndarray | None


@dataclass(frozen=True)
class Annotation:
    """Ground truth or prediction of an image: a label map, instances or a class.

    Attributes:
        labels: Class of each pixel (H, W); None if there are instances.
        instances: Instances; empty if there are none.
        image_class: Index of the class of the whole image; None if it has none.
    """

    labels: np.ndarray | None
    instances: Sequence[Instance] = ()
    image_class: int | None = None


@dataclass(frozen=True)
class Sample:
    """Validation image.

    Attributes:
        path: Path of the file.
        pixels: Image (H, W, 3), RGB, uint8.
        truth: Ground truth; None if the config loads no annotations for validation.
    """

    path: Path
    pixels: np.ndarray
    truth: Annotation | None


def validation_samples(cfg: Config, count: int) -> list[Sample]:
    """Load images evenly spaced in the validation set of a config, with their ground truth.

    Args:
        cfg: Config of a training.
        count: Maximum number of images.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    leaf, _ = next(leaf_configs(cfg.val_dataloader.dataset))
    steps = [step for step in leaf['pipeline'] if _is_loading(step['type'])]
    dataset = DATASETS.build({**leaf, 'pipeline': steps, 'test_mode': True})
    indices = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return [_sample(dataset[int(index)]) for index in indices]


def to_annotation(prediction: Prediction) -> Annotation:
    """Convert the prediction of a model."""
    instances = [_instance(instance) for instance in prediction.instances or ()]
    scores = prediction.scores
    return Annotation(
        prediction.labels, instances, None if scores is None else int(scores.argmax())
    )


def _is_loading(transform: str | type) -> bool:
    name = transform if isinstance(transform, str) else transform.__name__
    return name.rpartition('.')[2].startswith('Load')


def _sample(loaded: dict[str, Any]) -> Sample:
    # mmcv loads BGR, as floats if the pipeline sets to_float32.
    pixels = np.ascontiguousarray(loaded['img'][..., ::-1]).astype(np.uint8)
    return Sample(Path(loaded['img_path']), pixels, _truth(loaded))


def _truth(loaded: dict[str, Any]) -> Annotation | None:
    if 'gt_seg_map' in loaded:
        return Annotation(loaded['gt_seg_map'])
    if 'gt_label' in loaded:
        return Annotation(None, (), int(loaded['gt_label']))
    if 'gt_bboxes' not in loaded:
        return None
    boxes = loaded['gt_bboxes'].tensor.tolist()
    masks = loaded['gt_masks'].to_ndarray() if 'gt_masks' in loaded else [None] * len(boxes)
    labels = loaded['gt_bboxes_labels'].tolist()
    instances = zip(labels, boxes, masks, strict=True)
    return Annotation(None, [Instance(label, tuple(box), mask) for label, box, mask in instances])


def _instance(instance: dict[str, Any]) -> Instance:
    x, y, width, height = instance['bbox']
    encoded = instance.get('segmentation')
    mask = None if encoded is None else coco_mask.decode(encoded)
    return Instance(instance['category_id'] - 1, (x, y, x + width, y + height), mask)
