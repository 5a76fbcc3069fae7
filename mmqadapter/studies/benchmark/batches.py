"""Batches to train on: generated, of the kind that a config wants, or of its own data."""

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

from mmqadapter.engine.runner import require_data
from mmqadapter.studies.benchmark.model import nodes
from mmqadapter.studies.report.settings import Settings

OBJECTS = 8  # boxes of a generated image
PATCHES = 8  # patches of one class along each side of a generated label map
REAL_BATCHES = 4  # loaded once and used in turn, so that loading costs no step anything
Batch = dict[str, list]
BatchSource = Callable[[int], list[Batch]]  # batch size in images, to batches


def batch_source(cfg: Config, settings: Settings) -> BatchSource:
    """What gives batches of any size: those of the config's data, or generated ones.

    Args:
        cfg: A config of mmdet or mmseg.
        settings: Completed ones.

    Raises:
        FileNotFoundError: Real data are asked for and are not there.
        ValueError: Nothing is known to generate for the config's ``default_scope``.
    """
    if settings.real_data:
        require_data(cfg, 'train')
        return lambda batch_size: _real_batches(cfg, batch_size, settings.seed)
    scope = cfg.get('default_scope')
    if scope not in TRUTHS:
        raise ValueError(
            f'default_scope={scope!r}: images and ground truth are generated for '
            f'{" and ".join(TRUTHS)} alone; use --real-data.'
        )
    return lambda batch_size: [_generated_batch(cfg, settings, batch_size)]


def _real_batches(cfg: Config, batch_size: int, seed: int) -> list[Batch]:
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(seed)
    loader = {**cfg.train_dataloader, 'batch_size': batch_size}
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    batches = list(islice(Runner.build_dataloader(loader, seed=seed), REAL_BATCHES))
    if not batches:
        raise ValueError(f'the training data give no batch of {batch_size}; use --batch-size 1.')
    return batches


def _generated_batch(cfg: Config, settings: Settings, batch_size: int) -> Batch:
    generator = np.random.default_rng(settings.seed)
    counts = [node['num_classes'] for node in nodes(cfg.model) if node.get('num_classes')]
    classes, size = min(counts, default=1), settings.image_size or ()
    batch: Batch = {'inputs': [], 'data_samples': []}
    for number in range(batch_size):
        image = generator.integers(0, 256, (3, *size), dtype=np.uint8)
        sample = TRUTHS[cfg.default_scope](generator, size, classes)
        sample.set_metainfo(_about(number, size))
        batch['inputs'].append(torch.from_numpy(image))
        batch['data_samples'].append(sample)
    return batch


def _about(number: int, size: tuple[int, ...]) -> dict[str, Any]:
    """What a data pipeline tells of an image that it did not change."""
    same = dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    return dict(img_id=number, img_path='', flip=False, flip_direction=None, **same)


def _instances(generator: np.random.Generator, size: tuple[int, ...], classes: int) -> Any:
    """Boxes with their masks, an eighth to a half of the image high and wide."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    masks = np.zeros((OBJECTS, *size), np.uint8)
    boxes = np.zeros((OBJECTS, 4), np.float32)
    for mask, box in zip(masks, boxes, strict=True):
        (top, low), (left, right) = (_span(generator, length) for length in size)
        mask[top:low, left:right] = 1
        box[:] = left, top, right, low
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


def _label_map(generator: np.random.Generator, size: tuple[int, ...], classes: int) -> Any:
    """Patches of one class each."""
    from mmseg.structures import SegDataSample

    patches = generator.integers(0, classes, (PATCHES, PATCHES))
    rows, columns = (np.arange(length) * PATCHES // length for length in size)
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(patches[rows][:, columns][None]))
    return sample


TRUTHS: dict[str, Callable[..., Any]] = {'mmdet': _instances, 'mmseg': _label_map}
