"""Prediction image by image with one or several tasks, in memory for one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config

from mmqadapter.inference.image_errors import FailedImagesError, ImageError, guarded_step
from mmqadapter.inference.image_pipeline import ImagePipeline
from mmqadapter.inference.prediction import Prediction, plain_prediction
from mmqadapter.inference.progress import track_images
from mmqadapter.inference.writers import ResultWriter


@dataclass
class Run:
    """Prediction of images, with what the steps share.

    Attributes:
        step: Function from a batch to its data samples by task.
        cfg: Config whose test transforms prepare an image.
        paths: The images.
        writers: By task; predictions of a task without a writer are not written.
        score_thr: Instances below this score (0 to 1) are left out.
        progress: Show a progress bar.
        failures: Why images could not be predicted, by image; filled as the run goes on.
    """

    step: Callable[[dict], dict[str, list]]
    cfg: Config
    paths: Sequence[Path]
    writers: Mapping[str, ResultWriter]
    score_thr: float
    progress: bool
    failures: dict[Path, str] = field(default_factory=dict)

    def is_done(self, path: Path) -> bool:
        """Return whether the results of an image were written by an earlier run."""
        return bool(self.writers) and all(w.is_done(path) for w in self.writers.values())


def predict_images(run: Run) -> Iterator[dict[str, Prediction]]:
    """Return an iterator over the predictions of each image, by task.

    An image that fails does not stop the run.

    Raises:
        ValueError: The config has no test transforms.
        FailedImagesError: By the iterator at its end: images could not be read or predicted.
    """
    return _predictions(run, ImagePipeline(run.cfg))


@torch.no_grad()
def _predictions(run: Run, pipeline: ImagePipeline) -> Iterator[dict[str, Prediction]]:
    for path in track_images(run.paths, run.progress):
        if run.is_done(path):
            continue
        try:
            predictions = _predict_image(run, pipeline, path)
        except ImageError as error:
            run.failures[path] = str(error)
        else:
            yield predictions
    for writer in run.writers.values():
        writer.finish(path for path in run.paths if path not in run.failures)
    if run.failures:
        raise FailedImagesError(run.failures, len(run.paths))


def _predict_image(run: Run, pipeline: ImagePipeline, path: Path) -> dict[str, Prediction]:
    """Predict one image and write its results.

    Raises:
        ImageError: The image cannot be read or predicted.
    """
    prepared = pipeline(path)
    predictions = {}
    for name, (sample, *_) in guarded_step(run.step, prepared.batch).items():
        plain = sample.cpu()
        predictions[name] = plain_prediction(path, plain, run.score_thr)
        if name in run.writers:
            run.writers[name].write(predictions[name], plain, prepared.pixels, run.score_thr)
    return predictions
