"""Validation images with their ground truth, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from pycocotools import mask as run_lengths

from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.inference import Prediction


@dataclass(frozen=True)
class Instance:
    """An instance.

    Attributes:
        label: Index of its class.
        box: Left, top, right, bottom in pixels.
        mask: (H, W), true where it is; None where only boxes are known.
    """

    label: int
    box: tuple[float, float, float, float]
    mask: np.ndarray | None


@dataclass(frozen=True)
class Annotation:
    """What an image shows, in truth or as a method sees it.

    Attributes:
        labels: Class of each pixel (H, W); None of instances.
        things: Instances; empty of label maps.
    """

    labels: np.ndarray | None
    things: Sequence[Instance] = ()


@dataclass(frozen=True)
class Sample:
    """A validation image.

    Attributes:
        path: Of the file.
        pixels: (H, W, 3) bytes, RGB.
        truth: None where the config loads no annotations for validation.
    """

    path: Path
    pixels: np.ndarray
    truth: Annotation | None


def validation_samples(cfg: Config, count: int) -> list[Sample]:
    """Images of a config's validation set, evenly spread over it, with their truth.

    Args:
        cfg: Of a training.
        count: How many at most.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    leaf, _ = next(leaf_configs(cfg.val_dataloader.dataset))
    steps = [step for step in leaf['pipeline'] if _loads(step['type'])]
    dataset = DATASETS.build({**leaf, 'pipeline': steps, 'test_mode': True})
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    return [_sample(dataset[int(place)]) for place in places]


def predicted(prediction: Prediction) -> Annotation:
    """What a method sees in an image."""
    return Annotation(prediction.labels, [_instance(one) for one in prediction.instances or ()])


def _loads(kind: str | type) -> bool:
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rpartition('.')[2].startswith('Load')


def _sample(loaded: dict[str, Any]) -> Sample:
    # mmcv reads BGR, and floats where a pipeline asks for them.
    pixels = np.ascontiguousarray(loaded['img'][..., ::-1]).astype(np.uint8)
    return Sample(Path(loaded['img_path']), pixels, _truth(loaded))


def _truth(loaded: dict[str, Any]) -> Annotation | None:
    if 'gt_seg_map' in loaded:
        return Annotation(loaded['gt_seg_map'])
    if 'gt_bboxes' not in loaded:
        return None
    boxes = loaded['gt_bboxes'].tensor.tolist()
    masks = loaded['gt_masks'].to_ndarray() if 'gt_masks' in loaded else [None] * len(boxes)
    labels = loaded['gt_bboxes_labels'].tolist()
    every = zip(labels, boxes, masks, strict=True)
    return Annotation(None, [Instance(label, tuple(box), mask) for label, box, mask in every])


def _instance(instance: dict[str, Any]) -> Instance:
    x, y, width, height = instance['bbox']
    runs = instance.get('segmentation')
    mask = None if runs is None else run_lengths.decode(runs)
    return Instance(instance['category_id'] - 1, (x, y, x + width, y + height), mask)
