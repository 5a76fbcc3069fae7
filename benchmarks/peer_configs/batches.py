"""Random batches for classifiers, detectors, segmentors, panoptic and video models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from benchmarks.peer_configs.configs import nodes
from benchmarks.peer_configs.language import WORDS

OBJECTS = 4  # of one image
WIDTHS = (1, 0.75)  # of the images of a batch of a detector, as parts of their height
FRAMES = 2  # of a video


def make_batch(cfg: Config, images: int, size: int) -> dict[str, Any]:
    """Return a batch of images (3, H, W), or of videos (T, 3, H, W), with ground truth.

    Args:
        cfg: A cut config.
        images: Number of images; of a detector they differ in width.
        size: Height of the images, and their largest width.
    """
    generator = np.random.default_rng(0)
    preprocessor = cfg.model.data_preprocessor.get('type')
    if preprocessor == 'MultiBranchDataPreprocessor' and images > 1:
        return _branches(cfg, generator, size)
    if cfg.default_scope == 'mmseg':
        samples = [_semantic(cfg, generator, size) for _ in range(images)]
    elif cfg.default_scope == 'mmpretrain' or preprocessor == 'ReIDDataPreprocessor':
        samples = [_labeled(cfg, generator, size) for _ in range(images)]
    elif preprocessor == 'TrackDataPreprocessor' and not _trains_on_images(cfg, images):
        samples = [_video(cfg, generator, size) for _ in range(images)]
    else:
        widths = WIDTHS[:1] if _equal_sizes(cfg) else WIDTHS
        shapes = [(size, int(size * widths[i % len(widths)])) for i in range(images)]
        samples = [_detection(cfg, generator, *shape) for shape in shapes]
    inputs, data_samples = zip(*samples, strict=True)
    return {'inputs': list(inputs), 'data_samples': list(data_samples)}


def _branches(cfg: Config, generator: np.random.Generator, size: int) -> dict[str, dict]:
    """Return a labeled image, and an unlabeled one for a teacher and its student."""
    branches = ('sup', 'unsup_teacher', 'unsup_student')
    samples = {name: _detection(cfg, generator, size, size) for name in branches}
    return {
        'inputs': {name: [image] for name, (image, _) in samples.items()},
        'data_samples': {name: [sample] for name, (_, sample) in samples.items()},
    }


def _trains_on_images(cfg: Config, images: int) -> bool:
    """Return whether this is a training batch of a tracker that trains its detector alone."""
    return images > 1 and bool(cfg.model.data_preprocessor.get('use_det_processor'))


def _equal_sizes(cfg: Config) -> bool:
    """Return whether all images of a training batch have one size."""
    # Masks of unequal sizes need padding; configs without it crop all images to one size.
    crops = _loads_masks(cfg) and not cfg.model.data_preprocessor.get('pad_mask')
    squares = (s.get('type') == 'Resize' and s.get('keep_ratio') is False for s in _steps(cfg))
    return crops or any(squares)


def _loads_masks(cfg: Config) -> bool:
    types = (s.get('with_mask') or s.get('type') == 'LoadPanopticAnnotations' for s in _steps(cfg))
    return any(types)


def _steps(cfg: Config) -> list[Any]:
    """Return the mappings in the training data; configs to inherit from have none."""
    return [node for _, node in nodes(cfg.get('train_dataloader') or {})]


def _image(generator: np.random.Generator, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(generator.integers(0, 256, (3, height, width), dtype=np.uint8))


def _meta(height: int, width: int) -> dict[str, Any]:
    size = (height, width)
    shapes = dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    moves = dict(flip=False, flip_direction=None, homography_matrix=np.eye(3, dtype=np.float32))
    return dict(img_id=0, img_path='', border=(0, height, 0, width), **moves, **shapes)


def _smallest(cfg: Config, *keys: str) -> int:
    counts = [node[key] for _, node in nodes(cfg.model) for key in keys if node.get(key)]
    return min(counts, default=1)


def _semantic(cfg: Config, generator: np.random.Generator, size: int) -> tuple[torch.Tensor, Any]:
    from mmseg.structures import SegDataSample

    patches = generator.integers(0, _smallest(cfg, 'num_classes'), (4, 4))
    labels = torch.from_numpy(patches.repeat(size // 4, 0).repeat(size // 4, 1))
    sample = SegDataSample(metainfo=_meta(size, size))
    sample.gt_sem_seg = PixelData(data=labels[None])
    return _image(generator, size, size), sample


def _labeled(cfg: Config, generator: np.random.Generator, size: int) -> tuple[torch.Tensor, Any]:
    from mmdet.structures import ReIDDataSample
    from mmpretrain.structures import DataSample

    kind = DataSample if cfg.default_scope == 'mmpretrain' else ReIDDataSample
    sample = kind(metainfo=_meta(size, size))
    sample.set_gt_label(int(generator.integers(0, _smallest(cfg, 'num_classes'))))
    return _image(generator, size, size), sample


def _detection(
    cfg: Config, generator: np.random.Generator, height: int, width: int
) -> tuple[torch.Tensor, Any]:
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo=_meta(height, width))
    language = cfg.model.get('language_model') is not None
    things = _smallest(cfg, 'num_things_classes', 'num_classes')
    classes = min(things, len(WORDS)) if language else things
    sample.gt_instances = _instances(generator, height, width, classes)
    if not _loads_masks(cfg):
        del sample.gt_instances.masks
    sample.ignored_instances = sample.gt_instances[:0]
    if cfg.model.get('roi_head') and 'rpn_head' not in cfg.model:  # Fast R-CNN reads a file
        sample.proposals = InstanceData(bboxes=sample.gt_instances.bboxes.clone())
    stuff = _smallest(cfg, 'num_stuff_classes')
    labels = generator.integers(things, things + stuff, (1, 4, 4))
    labels = labels.repeat(height // 4, 1).repeat(width // 4, 2)
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(labels))
    if language:
        sample.set_metainfo(dict(text=WORDS, custom_entities=True))
    return _image(generator, height, width), sample


def _instances(
    generator: np.random.Generator, height: int, width: int, classes: int
) -> InstanceData:
    from mmdet.structures.mask import BitmapMasks

    masks = np.zeros((OBJECTS, height, width), np.uint8)
    boxes = np.zeros((OBJECTS, 4), np.float32)
    for mask, box in zip(masks, boxes, strict=True):
        x, y = generator.integers(0, width // 2), generator.integers(0, height // 2)
        right = x + generator.integers(8, width // 2)
        bottom = y + generator.integers(8, height // 2)
        mask[y:bottom, x:right] = 1
        box[:] = x, y, right, bottom
    return InstanceData(
        bboxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(generator.integers(0, classes, OBJECTS)),
        masks=BitmapMasks(masks, height, width),
        instances_ids=torch.arange(OBJECTS),
    )


def _video(cfg: Config, generator: np.random.Generator, size: int) -> tuple[torch.Tensor, Any]:
    from mmdet.structures import TrackDataSample

    detections = (_detection(cfg, generator, size, size) for _ in range(FRAMES))
    frames, samples = zip(*detections, strict=True)
    for number, sample in enumerate(samples):
        sample.set_metainfo(dict(frame_id=number, video_length=FRAMES, ori_video_length=FRAMES))
    track = TrackDataSample(video_data_samples=list(samples))
    track.set_metainfo(dict(key_frames_inds=[0], ref_frames_inds=[FRAMES - 1], video_id=0))
    return torch.stack(frames), track
