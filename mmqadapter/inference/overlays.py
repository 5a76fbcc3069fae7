"""Drawing predictions on images with the visualizers of mmdet, mmseg and mmpretrain."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement, InstanceData
from mmengine.visualization import Visualizer

READABLE = 800  # shorter side in pixels up to which overlays with boxes and names are enlarged
MOST = 4  # times that they are enlarged
MOST_NAMED = 12  # those with the name of a class
TITLE = 'overlay'  # name that the visualizers ask for; it is not shown


class OverlayPainter:
    """Painter of label maps, boxes and masks in the colors of a task's classes, and of class names.

    Args:
        meta: ``classes`` and ``palette``.
        names_in_maps: Write the names of classes into label maps, too.
    """

    def __init__(self, meta: dict[str, Any], names_in_maps: bool = True) -> None:
        self.meta = meta
        self.names_in_maps = names_in_maps

    def draw(self, sample: Any, pixels: np.ndarray, score_thr: float) -> np.ndarray:
        """Return an image with what a data sample predicts for it.

        Args:
            sample: The data sample of mmdet, mmseg or mmpretrain, on the CPU.
            pixels: The image, uint8 (H, W, 3), RGB.
            score_thr: Instances below this score (0 to 1) are not drawn.

        Returns:
            uint8 (H, W, 3), RGB; a small image with instances or a class name is enlarged.
        """
        if 'pred_sem_seg' in sample:
            self._labels.add_datasample(
                TITLE, pixels, sample, draw_gt=False, with_labels=self.names_in_maps
            )
            pixels = self._labels.get_image()
        if 'pred_instances' in sample:
            pixels, shown = _enlarged(pixels, sample.pred_instances, score_thr)
            self._instances.add_datasample(TITLE, pixels, shown, draw_gt=False, pred_score_thr=-1.0)
            pixels = self._instances.get_image()
        if 'pred_score' in sample:
            factor = _enlargement(pixels, MOST_NAMED)
            pixels = self._classes.visualize_cls(
                pixels.repeat(factor, 0).repeat(factor, 1),
                sample,
                self.meta['classes'],
                draw_gt=False,
            )
        return pixels

    @cached_property
    def _labels(self) -> Visualizer:
        from mmseg.visualization import SegLocalVisualizer  # a detector does not need mmseg

        visualizer = SegLocalVisualizer(alpha=0.5)
        visualizer.dataset_meta = self.meta
        return visualizer

    @cached_property
    def _classes(self) -> Any:
        from mmpretrain.visualization import UniversalVisualizer  # other models do not need it

        return UniversalVisualizer()

    @cached_property
    def _instances(self) -> Visualizer:
        # Here, since a segmentor does not need mmdet.
        from mmqadapter.inference.instance_visualizer import InstanceVisualizer

        visualizer = InstanceVisualizer(line_width=2, alpha=0.6)
        visualizer.dataset_meta = self.meta
        return visualizer


def _enlargement(pixels: np.ndarray, most: int = MOST) -> int:
    return min(max(1, round(READABLE / min(pixels.shape[:2]))), most)


def _enlarged(
    pixels: np.ndarray, instances: InstanceData, score_thr: float
) -> tuple[np.ndarray, BaseDataElement]:
    """Return image and instances to draw, enlarged so that class names do not hide the objects."""
    factor = _enlargement(pixels)
    shown = instances[instances.scores >= score_thr]
    shown.bboxes = shown.bboxes * factor
    if 'masks' in shown:
        masks = shown.pop('masks')
        shown.masks = masks.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    large = pixels.repeat(factor, 0).repeat(factor, 1)
    return large, BaseDataElement(pred_instances=shown)
