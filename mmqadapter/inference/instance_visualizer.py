"""Visualizer of mmdet that draws many masks in little time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmdet.visualization import DetLocalVisualizer


class InstanceVisualizer(DetLocalVisualizer):
    """Visualizer whose masks cost as much as their own pixels.

    The one of mmengine blends the whole image anew for each mask: 15 seconds for 67 nuclei in an
    image of 960 x 768 on a busy core.
    """

    def draw_binary_masks(
        self,
        binary_masks: np.ndarray,
        colors: Sequence[tuple[int, int, int]],
        alphas: float = 0.8,
    ) -> InstanceVisualizer:
        """Blend masks into the image, one over the other.

        Args:
            binary_masks: bool (N, H, W).
            colors: Color (red, green, blue) of each mask.
            alphas: Weight of the colors (0 to 1).
        """
        pixels = self.get_image()
        for mask, color in zip(binary_masks, colors, strict=True):
            blended = pixels[mask] * (1 - alphas) + np.asarray(color) * alphas
            pixels[mask] = np.rint(blended)
        extent = (0, self.width, self.height, 0)
        self.ax_save.imshow(pixels, extent=extent, interpolation='nearest')
        return self
