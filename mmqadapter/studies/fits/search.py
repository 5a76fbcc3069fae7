"""Needed memory of a method on a GPU, and the largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from mmengine.config import Config

from mmqadapter.studies.benchmark.max_batch import ONE_VALUE
from mmqadapter.studies.benchmark.methods import Method
from mmqadapter.studies.foretell.step import OutlinedModel
from mmqadapter.studies.report.rows import Row
from mmqadapter.studies.report.settings import Settings

CONTEXT = 600 * 2**20  # bytes of CUDA's context, libraries and their workspaces
FRAGMENTS = 0.1  # of the foretold peak: workspaces of operations, and gaps between blocks
CEILING = 1024  # images at which the search stops
PRECISIONS = {'float32': False, 'amp': True}


@dataclass(frozen=True)
class Demand:
    """Foretold memory of a step, and what a GPU must have for it.

    Attributes:
        peak_bytes: Peak of the bytes of all tensors.
        extra_bytes: Bytes beside them, such as the buckets of DDP.
    """

    peak_bytes: int
    extra_bytes: int = 0

    @property
    def needed_bytes(self) -> int:
        """Bytes with the margin for context, workspaces and fragmentation."""
        return int((self.peak_bytes + self.extra_bytes) * (1 + FRAGMENTS)) + CONTEXT


def fit_rows(
    cfg: Config,
    methods: Sequence[Method],
    settings: Settings,
    memory: int,
    observe: Callable[[Method], None] = lambda method: None,
) -> list[Row]:
    """Return a row for each method: what it needs, and its largest batch, in both precisions.

    Args:
        cfg: Result of :func:`mmqadapter.studies.benchmark.model.plain_config`.
        methods: Methods to compare.
        settings: Result of :meth:`.Settings.completed`.
        memory: Bytes of the GPU.
        observe: Function that is called before each method.

    Raises:
        ValueError: A method does not fit the backbone, or a step cannot be foretold.
    """
    rows = []
    for method in methods:
        observe(method)
        model = OutlinedModel(cfg, method)
        row: Row = {
            'method': method.name,
            'bits': method.bits,
            'trained_bytes': model.trained_bytes,
            'frozen_bytes': model.frozen_bytes,
        }
        for name, amp in PRECISIONS.items():
            row[name] = _fit(model, replace(settings, amp=amp), memory)
        rows.append(row)
    return rows


def _fit(model: OutlinedModel, settings: Settings, memory: int) -> Row:
    @cache
    def peak(batch: int) -> int:
        return model.peak_bytes(replace(settings, batch_size=batch))

    def largest(extra: int) -> int:
        limit = int((memory - CONTEXT) / (1 + FRAGMENTS)) - extra
        return largest_batch(peak, limit, settings.batch_size)

    # DDP copies gradients into buckets.
    alone, buckets = Demand(peak(settings.batch_size)), model.trained_bytes
    return {
        'peak_bytes': alone.peak_bytes,
        'needed_bytes': alone.needed_bytes,
        'max_batch': largest(0),
        'needed_bytes_ddp': replace(alone, extra_bytes=buckets).needed_bytes,
        'max_batch_ddp': largest(buckets),
    }


def largest_batch(peak: Callable[[int], int], limit: int, start: int) -> int:
    """Return the largest batch within a limit, in images; 0 if none fits or trains.

    The peak is the largest of sums that grow linearly with the batch, so it is convex: a line
    through two points gives a batch that is right or too large outside them, and right or too small
    between them.

    Args:
        peak: Function from images to bytes; it is called few times if it caches.
        limit: Bytes.
        start: Images, the first point; the second is twice as many.
    """
    first, second = peak(start), peak(2 * start)
    slope = max((second - first) / start, 1)
    batch = min(int(start + (limit - first) / slope), CEILING)
    while batch >= 1 and not _fits(peak, batch, limit):
        excess = peak(batch) - limit if batch >= start else 0
        batch -= max(1, int(excess / slope))
    while 0 < batch < CEILING and start <= batch < 2 * start and _fits(peak, batch + 1, limit):
        batch += 1
    return max(batch, 0)


def _fits(peak: Callable[[int], int], batch: int, limit: int) -> bool:
    try:
        return peak(batch) <= limit
    except ValueError as error:
        if ONE_VALUE not in str(error):  # a batch norm wants two images
            raise
        return False
