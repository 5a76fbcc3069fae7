"""Needed memory of a method on a GPU, and the largest batch that fits."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import replace

from mmengine.config import Config

from mmqadapter.studies.benchmark.max_batch import ONE_VALUE
from mmqadapter.studies.benchmark.methods import Method
from mmqadapter.studies.foretell.step import OutlinedModel
from mmqadapter.studies.report.rows import Row
from mmqadapter.studies.report.settings import Settings

CONTEXT = 600 * 2**20  # bytes of CUDA's context, libraries and their workspaces
FRAGMENTS = 0.1  # of the foretold peak: workspaces of operations, and gaps between blocks
CEILING = 256  # images at which the search stops; each takes the time of its own boxes
MANY = 6  # known points
# The second point is at most so many batches larger: it gives the slope, and small ones are quick.
FIRST_STEP = 4
PRECISIONS = {'float32': False, 'amp': True}


def needed_bytes(peak: int) -> int:
    """Return what a GPU must have for a peak: with context, workspaces and fragmentation."""
    return int(peak * (1 + FRAGMENTS)) + CONTEXT


def fit(cfg: Config, method: Method, settings: Settings, memory: int) -> Row:
    """Return what a method needs, and its largest batch, in both precisions.

    Args:
        cfg: Result of :func:`mmqadapter.studies.benchmark.model.plain_config`.
        method: Method that tunes the backbone.
        settings: Result of :meth:`.Settings.completed`.
        memory: Bytes of the GPU.

    Raises:
        ValueError: The method does not fit the backbone, or a step cannot be foretold.
    """
    model = OutlinedModel(cfg, method)
    row: Row = {
        'method': method.name,
        'bits': method.bits,
        'trained_bytes': model.trained_bytes,
        'frozen_bytes': model.frozen_bytes,
    }
    for name, amp in PRECISIONS.items():
        row[name] = _fit(model, replace(settings, amp=amp), memory)
    return row


def _fit(model: OutlinedModel, settings: Settings, memory: int) -> Row:
    def peak(images: int) -> int:
        return model.peak_bytes(replace(settings, batch_size=images))

    limit = int((memory - CONTEXT) / (1 + FRAGMENTS))
    curve = Curve(peak, settings.batch_size, model.resident_bytes)
    batch = curve.largest(limit)
    buckets = model.trained_bytes  # into which DDP copies the gradients
    return {
        'peak_bytes': curve.peaks[settings.batch_size],
        'needed_bytes': needed_bytes(curve.peaks[settings.batch_size]),
        'max_batch': batch,
        'needed_bytes_ddp': needed_bytes(curve.peaks[settings.batch_size] + buckets),
        'max_batch_ddp': curve.interpolated(limit - buckets),
    }


class Curve:
    """Peak over the images of a batch, of which few points are foretold.

    The peak is the largest of sums that grow linearly with the batch, so the curve is convex: the
    line through two points is above it between them, and below it outside.

    Args:
        peak: Function from images to bytes.
        start: Images of the first point.
        resident: Bytes that any batch needs, for the first guess.

    Attributes:
        peaks: Bytes by number of images, of the known points.
    """

    def __init__(self, peak: Callable[[int], int], start: int, resident: int) -> None:
        self._peak, self._resident = peak, resident
        self.peaks = {start: peak(start)}

    def largest(self, limit: int) -> int:
        """Return the largest batch within a limit in bytes; 0 if none fits or trains."""
        while True:
            fitting = sorted(b for b, peak in self.peaks.items() if peak <= limit)
            low = fitting[-1] if fitting else 0
            high = min((b for b, peak in self.peaks.items() if peak > limit), default=CEILING + 1)
            if high - low == 1 or self._is_last(fitting, limit):
                return low
            # A guess by lines needs three points as a rule; halving ends where it creeps.
            creeps = len(self.peaks) > MANY
            guess = (low + high) // 2 if creeps else self._guess(limit)
            self._foretell(min(max(guess, low + 1), high - 1))

    def interpolated(self, limit: int) -> int:
        """Return a batch within a limit, one that is certain to fit by the points that are known.

        Below them it is searched as by :meth:`largest`.
        """
        points = sorted(self.peaks)
        if self.peaks[points[0]] > limit:
            return self.largest(limit)
        for left, right in itertools.pairwise(points):
            if self.peaks[right] > limit:
                return left + self._steps(left, right, limit)
        return points[-1]

    def _foretell(self, batch: int) -> None:
        try:
            self.peaks[batch] = self._peak(batch)
        except ValueError as error:
            if ONE_VALUE not in str(error):
                raise
            # A batch norm wants two images. Peaks of batches that do not train are without bound.
            self.peaks[batch] = sys.maxsize

    def _guess(self, limit: int) -> int:
        """Return where the line through the two points next to the limit meets it."""
        points = sorted(self.peaks, key=lambda batch: abs(self.peaks[batch] - limit))
        if len(points) == 1:
            (batch,) = points
            slope = max((self.peaks[batch] - self._resident) / batch, 1)
            steps = int((limit - self.peaks[batch]) // slope)
            return batch + int(min(steps, FIRST_STEP * batch))
        left, right = sorted(points[:2])
        return left + self._steps(left, right, limit)

    def _steps(self, left: int, right: int, limit: int) -> int:
        return int((limit - self.peaks[left]) // self._slope(left, right))

    def _is_last(self, fitting: list[int], limit: int) -> bool:
        """Return whether the line through the last two batches that fit ends before the next."""
        if len(fitting) < 2:
            return False
        left, right = fitting[-2:]
        return self.peaks[right] + self._slope(left, right) > limit

    def _slope(self, left: int, right: int) -> float:
        return max((self.peaks[right] - self.peaks[left]) / (right - left), 1)
