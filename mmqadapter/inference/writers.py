"""Writing predictions as files: overlays to look at, label maps and JSON to process."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmqadapter.inference.class_file import best_classes, class_chunks
from mmqadapter.inference.coco_file import coco_chunks
from mmqadapter.inference.images import relative_files, result_names
from mmqadapter.inference.overlays import OverlayPainter
from mmqadapter.inference.prediction import Prediction
from mmqadapter.utils.atomic import atomic_write

RESULTS = ('labels', 'overlays', 'instances', 'instances.json', 'classes', 'classes.json')
SETTINGS = 'mmqadapter'  # key of the settings' digest in a PNG or JSON file


def check_folder(out: str | os.PathLike) -> None:
    """Check that results can be written into ``out``, before a model is loaded for it.

    Raises:
        ValueError: It is a file, or in the place of a folder above it is one.
    """
    path = next((path for path in (Path(out), *Path(out).parents) if path.exists()), None)
    if path is not None and not path.is_dir():
        raise ValueError(
            f'out={str(out)!r} is invalid: {str(path)!r} is a file; expected a folder, which may '
            'be a new one.'
        )


class ResultWriter:
    """Writer of the results of one task, image by image; each file is written atomically.

    Args:
        out: Folder for ``overlays/``, and for ``labels/``, or ``instances/`` and
            ``instances.json``, or ``classes/`` and ``classes.json``.
        images: All images whose predictions will be written.
        meta: ``classes`` and ``palette``; label maps start at 1 if ``reduce_zero_label`` is true.
        settings: Digest of what the results depend on besides the images, kept in the files of
            results, so that a later run can see whether they are its own; empty if not known.
        resume: Keep results with these settings that are in ``out`` already, see :meth:`is_done`.

    Raises:
        ValueError: ``out`` has the images in it, and beside them a file or folder with the name of
            a result, which may be annotations.
    """

    def __init__(
        self,
        out: str | os.PathLike,
        images: list[Path],
        meta: dict[str, Any],
        settings: str = '',
        resume: bool = False,
    ) -> None:
        self.out = Path(out)
        self.settings, self.resume = settings, resume
        self.meta = meta
        self._painter = OverlayPainter(meta)
        self.files = dict(zip(images, relative_files(images), strict=True))
        self.names = dict(zip(images, result_names(images), strict=True))
        if not (resume and any(self._has_results(image) for image in images)):
            _check_no_annotations(self.out, images)

    def is_done(self, image: Path) -> bool:
        """Return whether ``out`` has the results of an image, with the same settings.

        The results are older than the image if it was changed since; then they do not count.
        """
        if not (self.resume and self.settings):
            return False
        if not ((self.out / 'overlays' / f'{self.names[image]}.png').is_file() and image.is_file()):
            return False
        return any(
            _settings_of(result) == self.settings
            and result.stat().st_mtime >= image.stat().st_mtime
            for result in self._result_files(image)
            if result.is_file()
        )

    def write(
        self, prediction: Prediction, sample: Any, pixels: np.ndarray, score_thr: float
    ) -> None:
        """Write the results of one image: overlay, and label map, instances or classes.

        Args:
            prediction: The plain values.
            sample: The data sample that they come from, on the CPU.
            pixels: The image, uint8 (H, W, 3), RGB.
            score_thr: Instances below this score (0 to 1) are not drawn.

        Raises:
            ValueError: A label does not fit the 8 bits of a label map.
        """
        image, name = prediction.image, f'{self.names[prediction.image]}.png'
        overlay = self._painter.draw(sample, pixels, score_thr)
        _write_png(self.out / 'overlays' / name, overlay)
        # Last, since an image with these files counts as done.
        if prediction.instances is not None:
            self._write_json(
                self._instance_file(image), prediction, annotations=prediction.instances
            )
        if prediction.labels is not None:
            stored = _stored_labels(prediction.labels, bool(self.meta.get('reduce_zero_label')))
            _write_png(self._label_map(image), stored, self.settings)
        if prediction.scores is not None:
            best = best_classes(prediction.scores, self.meta['classes'])
            self._write_json(self._class_file(image), prediction, classes=best)

    def finish(self, images: Iterable[Path]) -> None:
        """Write ``instances.json`` or ``classes.json`` from the files of single images.

        A segmentor has neither.

        Args:
            images: The images that were predicted.
        """
        images = list(images)
        if files := [file for image in images if (file := self._instance_file(image)).is_file()]:
            atomic_write(self.out / 'instances.json', coco_chunks(files, self.meta['classes']))
        if files := [file for image in images if (file := self._class_file(image)).is_file()]:
            atomic_write(self.out / 'classes.json', class_chunks(files, self.meta['classes']))

    def _has_results(self, image: Path) -> bool:
        """Return whether ``out`` has results of an image, with any settings."""
        return any(file.is_file() and _settings_of(file) for file in self._result_files(image))

    def _result_files(self, image: Path) -> tuple[Path, ...]:
        return self._label_map(image), self._instance_file(image), self._class_file(image)

    def _label_map(self, image: Path) -> Path:
        return self.out / 'labels' / f'{self.names[image]}.png'

    def _instance_file(self, image: Path) -> Path:
        return self.out / 'instances' / f'{self.names[image]}.json'

    def _class_file(self, image: Path) -> Path:
        return self.out / 'classes' / f'{self.names[image]}.json'

    def _write_json(self, file: Path, prediction: Prediction, **results: Any) -> None:
        height, width = prediction.shape
        content = dict(
            image=dict(file_name=self.files[prediction.image], width=width, height=height),
            **results,
            **({SETTINGS: self.settings} if self.settings else {}),
        )
        atomic_write(file, json.dumps(content).encode())


def _check_no_annotations(out: Path, images: Sequence[Path]) -> None:
    """Check that no annotations are overwritten: datasets often have ``labels/`` as well."""
    inside = any(Path(os.path.abspath(i)).is_relative_to(os.path.abspath(out)) for i in images)
    present = next((name for name in RESULTS if (out / name).exists()), None)
    if inside and present:
        raise ValueError(
            f'{str(out)!r} has the images in it, and beside them {present!r}, which the results '
            'would overwrite; give another folder for the results (--out).'
        )


def _stored_labels(labels: np.ndarray, reduce_zero_label: bool) -> np.ndarray:
    """Return labels as annotations have them: classes start at 1 with ``reduce_zero_label``."""
    if not reduce_zero_label:
        return labels
    if labels.max(initial=0) == 255:
        raise ValueError(
            'label 255 + 1 (reduce_zero_label) does not fit the 8 bits of a label map.'
        )
    return labels + np.uint8(1)


def _settings_of(result: Path) -> str | None:
    """Return the digest that a file of results has; None if it has none or is not readable."""
    try:
        if result.suffix == '.json':
            return json.loads(result.read_bytes()).get(SETTINGS)
        with Image.open(result) as image:
            return image.info.get(SETTINGS)
    except (AttributeError, OSError, SyntaxError, ValueError):
        return None


def _write_png(path: Path, pixels: np.ndarray, settings: str = '') -> None:
    png, info = io.BytesIO(), PngInfo()
    if settings:
        info.add_text(SETTINGS, settings)
    Image.fromarray(pixels).save(png, 'PNG', pnginfo=info)
    atomic_write(path, png.getvalue())
