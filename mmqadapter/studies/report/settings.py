"""What a benchmark measures, apart from the methods."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch
from mmengine.config import Config

from mmqadapter.engine.runner import require_model

UNITS = {'': 1, 'MB': 10**6, 'GB': 10**9, 'MIB': 2**20, 'GIB': 2**30}
DEFAULT_BATCH = 2
DEFAULT_SIZE = (512, 512)


@dataclass(frozen=True)
class Settings:
    """Batch, precision and length of the measurement.

    Attributes:
        device: Where to train, a CPU or a CUDA device.
        batch_size: Images in a batch; 0 for the config's.
        image_size: Height and width of generated images in pixels; None for the config's.
        steps: Measured steps of each method.
        warm_up: Steps before them that do not count.
        amp: Mixed precision.
        seed: Of weights and images.
        real_data: Batches of the config's training data instead of generated ones.
        memory_limit: Find the largest batch that trains within so many bytes; None to leave out.

    Raises:
        ValueError: A number outside its range, or another kind of device.
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
        least = {'batch_size': 0, 'steps': 1, 'warm_up': 0, 'seed': 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f'{name}={getattr(self, name)} is too small; use {low} or more.')
        if self.image_size is not None and min(self.image_size) < 1:
            raise ValueError(f'image_size={self.image_size} is no size; give pixels, such as 512.')
        if self.device.type not in ('cpu', 'cuda'):
            raise ValueError(f'device={str(self.device)!r} is not supported; use cpu or cuda.')

    def completed(self, cfg: Config) -> Settings:
        """These settings with what the config says where they say nothing.

        Raises:
            ValueError: No model, or mixed precision of a detector on a CPU.
        """
        require_model(cfg)
        loader = cfg.get('train_dataloader') or {}
        batch_size = self.batch_size or loader.get('batch_size') or DEFAULT_BATCH
        configured = (cfg.model.get('data_preprocessor') or {}).get('size') or DEFAULT_SIZE
        height, width = self.image_size or configured
        # mmengine's own way to ask for mixed precision in a config.
        amp = self.amp or 'Amp' in str((cfg.get('optim_wrapper') or {}).get('type'))
        if amp and self.device.type == 'cpu' and cfg.get('default_scope') == 'mmdet':
            raise ValueError(
                "amp=True: on a CPU mmcv's operators for detectors take float32 alone; leave --amp "
                'out (in a config: optim_wrapper.type=OptimWrapper), or use a GPU.'
            )
        return replace(self, batch_size=batch_size, image_size=(height, width), amp=amp)


def parse_bytes(text: str) -> int:
    """Bytes of a size such as ``'11GB'``, ``'24GiB'`` or ``'8000000000'``.

    Raises:
        ValueError: Not a positive number with one of these units.
    """
    found = re.fullmatch(r'([\d.]+)\s*([A-Za-z]*)', text.strip())
    unit = UNITS.get(found[2].upper()) if found else None
    try:
        size = int(float(found[1]) * unit) if found and unit else 0
    except ValueError:
        size = 0
    if size < 1:
        raise ValueError(f'{text!r} is no amount of memory; write it as 11GB, 24GiB or in bytes.')
    return size
