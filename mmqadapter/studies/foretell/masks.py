"""Masks of objects that have a number and a size, but no content."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks


class OutlineMasks(BitmapMasks):
    """Masks without content, which take no memory of the machine.

    Args:
        masks: Masks (N, height, width).
        height: Pixels.
        width: Pixels.
    """

    def __init__(self, masks: np.ndarray, height: int, width: int) -> None:
        super().__init__(np.broadcast_to(np.uint8(0), masks.shape), height, width)

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> OutlineMasks:
        """Return masks of another size."""
        return OutlineMasks(np.broadcast_to(np.uint8(0), (len(self), *out_shape)), *out_shape)

    def crop_and_resize(
        self,
        bboxes: np.ndarray,
        out_shape: tuple[int, int],
        inds: np.ndarray,
        device: Any = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> BitmapMasks:
        """Return masks of boxes; the same tensors are allocated as in mmdet.

        There each box gets a copy of its object's whole mask, in float32, before it is cropped.
        """
        whole = torch.empty(len(self), 1, self.height, self.width, dtype=torch.uint8)
        chosen = whole.index_select(0, torch.from_numpy(inds))
        copies = chosen.to(torch.float32)
        del copies
        return BitmapMasks(np.zeros((len(bboxes), *out_shape), np.uint8), *out_shape)
