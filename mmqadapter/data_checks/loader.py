"""The loading transforms of a dataset's pipeline: what training reads from the files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.registry import TRANSFORMS, DefaultScope

from mmqadapter.utils.text import one_line

# Packages whose transforms load files only if their name says so.
PACKAGES = ('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmqadapter', 'mmseg')
# Loads label maps if no transform of the pipeline does.
DEFAULT_LABELS = dict(type='mmseg.LoadAnnotations')


class LoadError(ValueError):
    """Error for a file that the transforms of the config cannot load."""


class SampleLoader:
    """Loader of images and label maps by the transforms of a dataset's own pipeline.

    These are the transforms that load files, and transforms from outside the OpenMMLab packages
    that directly follow them, which may convert what was loaded. If the pipeline loads no image or
    no label map, mmcv's and mmseg's transforms with their default settings do.

    Args:
        pipeline: Configs of the pipeline's transforms, or callables.
        scope: Registry scope of their types.
    """

    def __init__(self, pipeline: Sequence[Any], scope: str | None) -> None:
        classes = [_class(step, scope) for step in pipeline]
        image_steps, label_steps = _split(pipeline, classes)
        self.image_steps = _build(image_steps, scope) or [LoadImageFromFile()]
        self._label_steps, self._scope = label_steps or [DEFAULT_LABELS], scope
        # Whether all transforms are known to keep the channels of an image.
        self.keeps_channels = not any(map(_is_own, classes))

    @cached_property
    def label_steps(self) -> list[Callable]:
        """The transforms that load a label map."""
        return _build(self._label_steps, self._scope)

    def image(self, sample: dict) -> np.ndarray:
        """Return the image (H, W) or (H, W, C) that training sees.

        Raises:
            LoadError: The transforms cannot load it.
        """
        image = _run(self.image_steps, sample).get('img')
        if not isinstance(image, np.ndarray):
            raise LoadError('the transforms give no array `img`')
        return image

    def labels(self, sample: dict) -> np.ndarray:
        """Return the label map (H, W) that training sees.

        Raises:
            LoadError: The transforms cannot load it.
        """
        labels = _run(self.label_steps, sample).get('gt_seg_map')
        if not isinstance(labels, np.ndarray):
            raise LoadError('the transforms give no array `gt_seg_map`')
        return labels

    @property
    def label_backend(self) -> str | None:
        """Backend that decodes label maps; None if the transforms are not those of mmseg."""
        first, *rest = self.label_steps
        stock = type(first).__module__.startswith('mmseg.') and not rest
        return getattr(first, 'imdecode_backend', None) if stock else None

    def __str__(self) -> str:
        """Return the name of the image loader with its settings."""
        first = self.image_steps[0]
        if not isinstance(first, LoadImageFromFile):
            return type(first).__name__
        return f'{type(first).__name__}, {first.imdecode_backend}, {first.color_type}'


def _split(pipeline: Sequence[Any], classes: list[type]) -> tuple[list, list]:
    """Return the steps of a pipeline that load images, and those that load annotations."""
    images: list[Any] = []
    labels: list[Any] = []
    group: list[Any] | None = None  # the one that the last step belongs to
    for step, cls in zip(pipeline, classes, strict=True):
        if issubclass(cls, LoadAnnotations) or 'Annotations' in _loader_name(cls):
            group = labels
        elif issubclass(cls, LoadImageFromFile) or _loader_name(cls):
            group = images
        elif not _is_own(cls):
            group = None
        elif not images:  # the first step is a loader, whatever its name
            group = images
        if group is not None:
            group.append(step)
    return images, labels


def _build(steps: Sequence[Any], scope: str | None) -> list[Callable]:
    with DefaultScope.overwrite_default_scope(scope):
        return [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps]


def _class(step: Any, scope: str | None) -> type:
    """Return the class of a transform or of its config."""
    kind = step['type'] if isinstance(step, dict) else type(step)
    if not isinstance(kind, str):
        return kind if isinstance(kind, type) else type(kind)
    with TRANSFORMS.switch_scope_and_registry(scope) as registry:
        return registry.get(kind) or object


def _loader_name(cls: type) -> str:
    """Return the name of a class that loads by its name; empty for others."""
    return cls.__name__ if cls.__name__.startswith('Load') else ''


def _is_own(cls: type) -> bool:
    """Return whether a transform is from outside the OpenMMLab packages."""
    return cls.__module__.partition('.')[0] not in (*PACKAGES, 'builtins')


def _run(steps: Sequence[Callable], sample: dict) -> dict:
    for step in steps:
        try:
            result = step(sample)
        except Exception as error:  # transforms of the user may raise anything
            raise LoadError(_reason(step, error)) from error
        if result is None:
            raise LoadError(f'{type(step).__name__} leaves it out')
        sample = result
    return sample


def _reason(step: Callable, error: Exception) -> str:
    """Return why a step failed; empty where the decoder gives no reason."""
    if isinstance(step, (LoadImageFromFile, LoadAnnotations)) and isinstance(
        error, (AssertionError, AttributeError)
    ):
        return ''
    return f'{type(error).__name__}: {one_line(error, 150)}'
