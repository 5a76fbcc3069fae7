"""Training batches: generated ones that suit a config, or those of its own data."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData

from mmqadapter.engine.checked_pipeline import checked_dataloader
from mmqadapter.engine.runner import require_data
from mmqadapter.studies.benchmark.model import nodes
from mmqadapter.studies.report.settings import Settings

OBJECTS = 8  # boxes in a generated image
PATCHES = 8  # single-class patches along each side of a generated label map
REAL_BATCHES = 4  # loaded once and cycled, so that loading is not part of a step
Batch = dict[str, list]
BatchSource = Callable[[int], list[Batch]]  # takes the batch size in images


def batch_source(cfg: Config, settings: Settings) -> BatchSource:
    """Return a function that makes batches of a given size, from the config's data or generated.

    Args:
        cfg: Config of mmdet, mmseg or mmpretrain.
        settings: Result of :meth:`.Settings.completed`.

    Raises:
        FileNotFoundError: ``settings.real_data`` is set and the data do not exist.
        ValueError: Batches cannot be generated for the config's ``default_scope``.
    """
    if settings.real_data:
        require_data(cfg, 'train')
        return lambda batch_size: _real_batches(cfg, batch_size, settings.seed)
    scope = cfg.get('default_scope')
    if scope not in SAMPLE_MAKERS:
        raise ValueError(
            f'default_scope={scope!r} is invalid: batches are generated for '
            f'{", ".join(SAMPLE_MAKERS)} only; use --real-data.'
        )
    return lambda batch_size: [_generated_batch(cfg, settings, batch_size)]


def _real_batches(cfg: Config, batch_size: int, seed: int) -> list[Batch]:
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed(seed)
    loader = {**cfg.train_dataloader, 'batch_size': batch_size}
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    batches = list(
        islice(checked_dataloader(Runner.build_dataloader, loader, seed=seed), REAL_BATCHES)
    )
    if not batches:
        raise ValueError(
            f'batch_size={batch_size} is invalid: expected at most the number of training images.'
        )
    return batches


def _generated_batch(cfg: Config, settings: Settings, batch_size: int) -> Batch:
    generator = np.random.default_rng(settings.seed)
    counts = [node['num_classes'] for node in nodes(cfg.model) if node.get('num_classes')]
    classes, size = min(counts, default=1), settings.image_size or ()
    batch: Batch = {'inputs': [], 'data_samples': []}
    for index in range(batch_size):
        image = generator.integers(0, 256, (3, *size), dtype=np.uint8)
        sample = SAMPLE_MAKERS[cfg.default_scope](generator, size, classes)
        sample.set_metainfo(_meta_info(index, size))
        batch['inputs'].append(torch.from_numpy(image))
        batch['data_samples'].append(sample)
    return batch


def _meta_info(index: int, size: tuple[int, ...]) -> dict[str, Any]:
    """Return the meta information that a data pipeline adds to an unchanged image."""
    shapes = dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    return dict(img_id=index, img_path='', flip=False, flip_direction=None, **shapes)


def _instance_sample(generator: np.random.Generator, size: tuple[int, ...], classes: int) -> Any:
    """Return boxes and masks whose sides are an eighth to a half of those of the image."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    masks = np.zeros((OBJECTS, *size), np.uint8)
    boxes = np.zeros((OBJECTS, 4), np.float32)
    for mask, box in zip(masks, boxes, strict=True):
        (top, bottom), (left, right) = (_span(generator, length) for length in size)
        mask[top:bottom, left:right] = 1
        box[:] = left, top, right, bottom
    truth, ignored = InstanceData(), InstanceData()
    truth.bboxes, truth.masks = torch.from_numpy(boxes), BitmapMasks(masks, *size)
    truth.labels = torch.from_numpy(generator.integers(0, classes, OBJECTS))
    ignored.bboxes, ignored.labels = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    ignored.masks = BitmapMasks(masks[:0], *size)
    sample = DetDataSample()
    sample.gt_instances, sample.ignored_instances = truth, ignored
    return sample


def _span(generator: np.random.Generator, length: int) -> tuple[int, int]:
    extent = int(generator.integers(max(length // 8, 1), max(length // 2, 2)))
    start = int(generator.integers(0, length - extent + 1))
    return start, start + extent


def _label_map_sample(generator: np.random.Generator, size: tuple[int, ...], classes: int) -> Any:
    """Return a label map of single-class patches."""
    from mmseg.structures import SegDataSample

    patches = generator.integers(0, classes, (PATCHES, PATCHES))
    rows, columns = (np.arange(length) * PATCHES // length for length in size)
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(patches[rows][:, columns][None]))
    return sample


def _class_sample(generator: np.random.Generator, size: tuple[int, ...], classes: int) -> Any:
    """Return the number of a class."""
    from mmpretrain.structures import DataSample

    return DataSample().set_gt_label(int(generator.integers(0, classes)))


SAMPLE_MAKERS: dict[str, Callable[..., Any]] = {
    'mmdet': _instance_sample,
    'mmseg': _label_map_sample,
    'mmpretrain': _class_sample,
}
