"""Largest images that the training pipeline of a config makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmqadapter.engine.data_configs import leaf_configs

Size = tuple[int, int]  # height and width, in pixels
CROPS = ('crop_size', 'size')  # of transforms that cut images or pad them


def largest_image_size(cfg: Config) -> Size | None:
    """Return height and width of the largest image of a training batch; None if no size is set.

    A size of the model's preprocessor, which pads all images to it, comes first. Otherwise the last
    transform that sets a size decides; of several scales and of alternative branches the largest.

    Args:
        cfg: Config of mmdet or mmseg.
    """
    preprocessor = cfg.model.get('data_preprocessor') or {}
    if preprocessor.get('size'):
        height, width = preprocessor['size']
        return int(height), int(width)
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    if not dataset:
        return None
    # Of a wrapper that mixes images the pipeline runs after those within.
    outer = _of_pipeline(dataset.get('pipeline') or ())
    within = [_of_pipeline(leaf.get('pipeline') or ()) for leaf, _ in leaf_configs(dataset)]
    return outer or max((size for size in within if size), key=_area, default=None)


def _of_pipeline(pipeline: Sequence[Any]) -> Size | None:
    size: Size | None = None
    for transform in pipeline:
        size = _of_transform(transform) or size
    return size


def _of_transform(transform: Any) -> Size | None:
    if not isinstance(transform, Mapping):
        return None
    branches = transform.get('transforms')
    if branches:
        nested = [branch if isinstance(branch, Sequence) else [branch] for branch in branches]
        if transform.get('type') != 'RandomChoice':  # its branches run one after another
            nested = [[step for branch in nested for step in branch]]
        sizes = [size for branch in nested if (size := _of_pipeline(branch))]
        return max(sizes, key=_area, default=None)
    return _resized(transform) or _cut(transform)


def _resized(transform: Mapping[str, Any]) -> Size | None:
    scales = transform.get('scales') or transform.get('scale')
    if not scales or 'Resize' not in str(transform.get('type')):
        return None
    if isinstance(scales, int):  # of mmpretrain
        return scales, scales
    scales = [scales] if isinstance(scales[0], (int, float)) else scales
    factor = max(transform.get('ratio_range') or (1.0,))
    sizes = [(int(min(scale) * factor), int(max(scale) * factor)) for scale in scales]
    if not transform.get('keep_ratio'):
        sizes = [(int(height * factor), int(width * factor)) for width, height in scales]
    return max(sizes, key=_area)


def _cut(transform: Mapping[str, Any]) -> Size | None:
    name = str(transform.get('type'))
    if not name.endswith(('Crop', 'Pad')) or transform.get('crop_type', 'absolute') != 'absolute':
        return None
    size = next((transform[key] for key in CROPS if transform.get(key)), None)
    if size is None:
        return None
    return (int(size[0]), int(size[1])) if isinstance(size, Sequence) else (int(size), int(size))


def _area(size: Size) -> int:
    return size[0] * size[1]
