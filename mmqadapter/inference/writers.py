"""Writing predictions as files: overlays to look at, label maps and COCO JSON to process."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement, InstanceData
from mmengine.visualization import Visualizer
from PIL import Image

from mmqadapter.inference.images import relative_files, result_names
from mmqadapter.inference.prediction import Prediction
from mmqadapter.utils.atomic import atomic_write

RESULTS = ('labels', 'overlays', 'instances.json')
READABLE = 800  # shorter side in pixels up to which overlays with boxes and names are enlarged


class ResultWriter:
    """Writer of the results of one task; each file is written atomically.

    Args:
        out: Folder for ``overlays/``, ``labels/`` and ``instances.json``.
        images: All images whose predictions will be written.
        meta: ``classes`` and ``palette``.

    Raises:
        ValueError: ``out`` has the images in it, and beside them a file or folder with the name of
            a result, which may be annotations.
    """

    def __init__(self, out: str | os.PathLike, images: list[Path], meta: dict[str, Any]) -> None:
        self.out = Path(out)
        _check_no_annotations(self.out, images)
        self.meta = meta
        self.files = dict(zip(images, relative_files(images), strict=True))
        self.names = dict(zip(images, result_names(images), strict=True))

    def write(
        self, prediction: Prediction, sample: Any, pixels: np.ndarray, score_thr: float
    ) -> None:
        """Write the overlay and, for a segmentor, the label map of one image.

        Args:
            prediction: The plain values.
            sample: The data sample that they come from, on the CPU.
            pixels: The image, uint8 (H, W, 3), RGB.
            score_thr: Instances below this score (0 to 1) are not drawn.
        """
        name = f'{self.names[prediction.image]}.png'
        if prediction.labels is not None:
            _write_png(self.out / 'labels' / name, prediction.labels)
            self._labels.add_datasample(name, pixels, sample, draw_gt=False)
            pixels = self._labels.get_image()
        if prediction.instances is not None:
            pixels, sample = _enlarged(pixels, sample.pred_instances, score_thr)
            self._instances.add_datasample(name, pixels, sample, draw_gt=False, pred_score_thr=-1.0)
            pixels = self._instances.get_image()
        _write_png(self.out / 'overlays' / name, pixels)

    def finish(self, predictions: Sequence[Prediction]) -> None:
        """Write ``instances.json``, unless the predictions are those of a segmentor."""
        if all(prediction.instances is None for prediction in predictions):
            return
        images: list[dict] = []
        annotations: list[dict] = []
        for number, prediction in enumerate(predictions, start=1):
            height, width = prediction.shape
            file = self.files[prediction.image]
            images.append(dict(id=number, file_name=file, width=width, height=height))
            for instance in prediction.instances or ():
                ids = dict(id=len(annotations) + 1, image_id=number, iscrowd=0)
                annotations.append({**ids, **instance})
        classes = enumerate(self.meta['classes'], start=1)
        categories = [dict(id=number, name=name) for number, name in classes]
        content = dict(images=images, categories=categories, annotations=annotations)
        atomic_write(self.out / 'instances.json', json.dumps(content).encode())

    @cached_property
    def _labels(self) -> Visualizer:
        from mmseg.visualization import SegLocalVisualizer  # a detector does not need mmseg

        visualizer = SegLocalVisualizer(alpha=0.5)
        visualizer.dataset_meta = self.meta
        return visualizer

    @cached_property
    def _instances(self) -> Visualizer:
        from mmdet.visualization import DetLocalVisualizer  # a segmentor does not need mmdet

        visualizer = DetLocalVisualizer(line_width=2, alpha=0.6)
        visualizer.dataset_meta = self.meta
        return visualizer


def _check_no_annotations(out: Path, images: Sequence[Path]) -> None:
    """Check that no annotations are overwritten: datasets often have ``labels/`` as well."""
    inside = any(Path(os.path.abspath(i)).is_relative_to(os.path.abspath(out)) for i in images)
    present = next((name for name in RESULTS if (out / name).exists()), None)
    if inside and present:
        raise ValueError(
            f'{str(out)!r} has the images in it, and beside them {present!r}, which the results '
            'would overwrite; give another folder for the results (--out).'
        )


def _enlarged(
    pixels: np.ndarray, instances: InstanceData, score_thr: float
) -> tuple[np.ndarray, BaseDataElement]:
    """Return image and instances to draw, enlarged so that class names do not hide the objects."""
    factor = min(max(1, round(READABLE / min(pixels.shape[:2]))), 4)
    shown = instances[instances.scores >= score_thr]
    shown.bboxes = shown.bboxes * factor
    if 'masks' in shown:
        masks = shown.pop('masks')
        shown.masks = masks.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    large = pixels.repeat(factor, 0).repeat(factor, 1)
    return large, BaseDataElement(pred_instances=shown)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, 'PNG')
    atomic_write(path, png.getvalue())
