"""Settings of a measurement: batch, precision, number of steps."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch
from mmengine.config import Config

from mmqadapter.engine.runner import require_model
from mmqadapter.studies.report.image_size import largest_image_size

UNITS = {'': 1, 'MB': 10**6, 'GB': 10**9, 'MIB': 2**20, 'GIB': 2**30}
SMALLEST = 10**6  # bytes of memory
DEFAULT_BATCH = 2
DEFAULT_SIZE = (512, 512)
CLASSIFIED_SIZE = (224, 224)


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement.

    Attributes:
        device: Device to train on, a CPU or a CUDA device.
        batch_size: Images in a batch; 0 for that of the config.
        image_size: Height and width of generated images in pixels; None for that of the config.
        steps: Measured steps of each method.
        warm_up: Steps before them that are not measured.
        amp: Mixed precision.
        seed: Seed of weights and images.
        real_data: Train on the config's training data instead of generated batches.
        memory_limit: Memory in bytes for the search of the largest batch; None for no search.

    Raises:
        ValueError: A number is out of its range, or the device is of another kind.
    """

    device: torch.device
    batch_size: int = 0
    image_size: tuple[int, int] | None = None
    steps: int = 20
    warm_up: int = 5
    amp: bool = False
    seed: int = 0
    real_data: bool = False
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        minimums = {'batch_size': 0, 'steps': 1, 'warm_up': 0, 'seed': 0}
        for name, minimum in minimums.items():
            if (value := getattr(self, name)) < minimum:
                raise ValueError(f'{name}={value} is invalid: expected {minimum} or more.')
        if self.image_size is not None and min(self.image_size) < 1:
            raise ValueError(f'image_size={self.image_size} is invalid: expected pixels above 0.')
        if self.device.type not in ('cpu', 'cuda'):
            raise ValueError(f'device={str(self.device)!r} is invalid: expected cpu or cuda.')

    def completed(self, cfg: Config) -> Settings:
        """Return these settings with unset values taken from the config.

        Raises:
            ValueError: The config has no model, or asks for mixed precision of a detector on a CPU.
        """
        require_model(cfg)
        loader = cfg.get('train_dataloader') or {}
        batch_size = self.batch_size or loader.get('batch_size') or DEFAULT_BATCH
        # A classifier sees whole images, whose size the pipeline sets.
        classifies = cfg.get('default_scope') == 'mmpretrain'
        usual = (largest_image_size(cfg) or CLASSIFIED_SIZE) if classifies else DEFAULT_SIZE
        configured = (cfg.model.get('data_preprocessor') or {}).get('size') or usual
        height, width = self.image_size or configured
        # In mmengine a config asks for mixed precision by the type of its optim_wrapper.
        amp = self.amp or 'Amp' in str((cfg.get('optim_wrapper') or {}).get('type'))
        if amp and self.device.type == 'cpu' and cfg.get('default_scope') == 'mmdet':
            raise ValueError(
                "amp=True is invalid on a CPU: mmcv's operators for detectors need float32 there; "
                'omit --amp (in a config: optim_wrapper.type=OptimWrapper) or use a GPU.'
            )
        return replace(self, batch_size=batch_size, image_size=(height, width), amp=amp)


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as ``'11GB'``, ``'24GiB'`` or ``'8000000000'``.

    Raises:
        ValueError: The text is not a number with one of these units, or is less than 1 MB.
    """
    match = re.fullmatch(r'([\d.]+)\s*([A-Za-z]*)', text.strip())
    unit = UNITS.get(match[2].upper()) if match else None
    try:
        size = int(float(match[1]) * unit) if match and unit else 0
    except ValueError:
        size = 0
    if size < SMALLEST:  # a forgotten unit
        raise ValueError(f'memory={text!r} is invalid: expected a size such as 11GB or 24GiB.')
    return size
