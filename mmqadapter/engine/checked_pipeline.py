"""Pipelines of transforms that check each sample and name the file in every error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.dataset import Compose
from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

from mmqadapter.engine.data_error import (
    DataError,
    check_categories,
    data_error,
    leaf_datasets,
    loading_faults,
    os_message,
)
from mmqadapter.engine.sample_checks import SampleCheck
from mmqadapter.utils.text import one_line


class CheckedPipeline:
    """Pipeline of transforms whose errors name the file, with checks of what was loaded.

    Args:
        pipeline: The transforms.
        check: Check of a sample whose annotations were loaded.

    Raises:
        DataError: When called: a transform fails, or an annotation does not fit its image.
    """

    def __init__(self, pipeline: Compose, check: SampleCheck) -> None:
        self.pipeline = pipeline
        self.check = check

    @property
    def transforms(self) -> list[Callable]:
        """The transforms in order."""
        return self.pipeline.transforms

    def __call__(self, sample: dict) -> dict | None:
        """Transform a sample; None if a transform drops it."""
        for transform in self.transforms:
            try:
                result = transform(sample)
            except (DataError, MemoryError):
                raise
            except Exception as error:
                raise _transform_fault(transform, sample, error) from error
            if result is None:
                return None
            sample = result
            if isinstance(transform, LoadAnnotations):
                self.check(sample)
        return sample

    def __repr__(self) -> str:
        """Return the text of the transforms."""
        return repr(self.pipeline)


def check_samples(dataset: Any) -> None:
    """Check all samples of a dataset from now on, also inside wrappers."""
    for leaf in leaf_datasets(dataset):
        pipeline = getattr(leaf, 'pipeline', None)
        if isinstance(pipeline, Compose):
            leaf.pipeline = CheckedPipeline(pipeline, SampleCheck(leaf))


def checked_dataloader(build: Callable[..., DataLoader], *args: Any, **kwargs: Any) -> DataLoader:
    """Return what ``build`` builds, a data loader whose dataset names its faulty files.

    Raises:
        DataError: An annotation file cannot be used.
    """
    with loading_faults():
        loader = build(*args, **kwargs)
    check_categories(loader.dataset)
    check_samples(loader.dataset)
    return loader


def check_data_of(runner: Runner | FlexibleRunner) -> None:
    """Let the datasets that a runner builds name their faulty files.

    Args:
        runner: Runner that has not built its data loaders yet; changed in place.
    """
    runner.build_dataloader = partial(checked_dataloader, runner.build_dataloader)


def _transform_fault(transform: Callable, sample: Any, error: Exception) -> DataError:
    """Return the error for a transform that failed."""
    keys = sample if isinstance(sample, dict) else {}
    image = str(keys.get('img_path') or f'sample {keys.get("sample_idx")}')
    if isinstance(error, OSError) and error.filename:
        return data_error(str(error.filename), os_message(error))
    reason = f'{type(error).__name__}: {one_line(error, 150)}'
    if isinstance(transform, LoadImageFromFile):
        if image in reason:  # mmcv only says that it failed to load this file
            return data_error(image, 'cannot be decoded as an image')
        return data_error(image, f'cannot be decoded as an image ({reason})')
    if isinstance(transform, LoadAnnotations):
        file = keys.get('seg_map_path') if transform.with_seg else None
        return data_error(str(file or image), f'its annotation cannot be loaded ({reason})')
    return data_error(image, f'{type(transform).__name__} fails ({reason})')
