"""Preparing an image for a model as the config's test data are, with the config's own loader."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.inference.image_errors import loading_error, step_error
from mmqadapter.inference.loading_losses import LossReport


class PreparedImage(NamedTuple):
    """An image as a batch of one for ``test_step``, and its pixels to draw on.

    Attributes:
        batch: What a test data loader gives.
        pixels: The loaded image, uint8 (H, W, 3), RGB.
    """

    batch: dict[str, Any]
    pixels: np.ndarray


class ImagePipeline:
    """Pipeline of the test transforms of a config, without those that load annotations.

    What the loader drops of an image, such as bits or bands, is logged once for each kind.

    Args:
        cfg: Config with a ``test_dataloader``.

    Raises:
        ValueError: The config has none.
    """

    def __init__(self, cfg: Config) -> None:
        self.transforms = _transforms(cfg)
        self.bgr = bool((cfg.model.get('data_preprocessor') or {}).get('bgr_to_rgb'))
        self.losses = LossReport()

    def __call__(self, path: Path) -> PreparedImage:
        """Load and prepare the image in a file.

        Raises:
            ImageError: It cannot be read, or a transform fails on it.
        """
        sample, remaining = self._load(path)
        image = sample['img']
        self.losses.check(path, image)
        pixels = displayed(image, self.bgr or _is_bgr(self.transforms))
        try:
            for transform in remaining:
                sample = transform(sample)
            return PreparedImage(pseudo_collate([sample]), pixels)
        except Exception as error:  # transforms fail in many ways on odd images
            raise step_error(error) from error

    def _load(self, path: Path) -> tuple[dict[str, Any], list[Any]]:
        """Return the sample with its image as ``img``, and the transforms that come after."""
        sample: Any = dict(img_path=os.fspath(path), img_id=0)
        try:
            for number, transform in enumerate(self.transforms, start=1):
                sample = transform(sample)
                if sample is None:
                    break
                if isinstance(sample.get('img'), np.ndarray):
                    _check_content(sample['img'])
                    return sample, self.transforms[number:]
        except ImportError:  # of a package that the loader needs
            raise
        except Exception as error:  # each loader has its own errors
            raise loading_error(path, error) from error
        raise loading_error(path, ValueError('the loader returns no image'))


def displayed(image: np.ndarray, bgr: bool) -> np.ndarray:
    """Return a loaded image as pixels to draw on, uint8 (H, W, 3), RGB.

    Args:
        image: (H, W) or (H, W, C) of any type; further channels than three are not shown, and
            values outside 0 to 255, or all within 0 to 1, are scaled.
        bgr: Whether its channels are blue, green, red.
    """
    channels = np.atleast_3d(image)
    channels = channels[..., :3] if channels.shape[2] >= 3 else channels[..., :1].repeat(3, 2)
    if channels.dtype != np.uint8:
        channels = _scaled(np.nan_to_num(channels.astype(np.float64), posinf=0, neginf=0))
    return np.ascontiguousarray(channels[..., ::-1] if bgr else channels)


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if low < 0 or not 1 < high <= 255:
        values = (values - low) * (255 / (high - low or 1))
    return values.astype(np.uint8)


def _check_content(image: np.ndarray) -> None:
    if image.ndim not in (2, 3) or not image.size:
        raise ValueError(f'its shape is {image.shape}')


def _is_bgr(transforms: list[Any]) -> bool:
    """Return whether the loader is one of mmcv, which loads color images as BGR."""
    from mmcv.transforms import LoadImageFromFile  # here, to import the package without mmcv

    return any(isinstance(transform, LoadImageFromFile) for transform in transforms)


def _transforms(cfg: Config) -> list[Any]:
    if not cfg.get('test_dataloader'):
        raise ValueError(
            'the config has no test_dataloader: its dataset has to name the transforms that '
            'prepare an image.'
        )
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    leaf, _ = next(leaf_configs(cfg.test_dataloader.dataset))
    wanted = [t for t in leaf['pipeline'] if not _loads_annotations(t['type'])]
    return Compose(wanted).transforms


def _loads_annotations(kind: str | type) -> bool:
    name = kind if isinstance(kind, str) else kind.__name__
    name = name.rpartition('.')[2]
    return name.startswith('Load') and 'Annotation' in name
