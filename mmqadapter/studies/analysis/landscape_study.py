"""The loss landscape around trained adapters, and around full fine-tuning's weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mmqadapter.studies.analysis.adapter_weights import DECODED, tuned_weights
from mmqadapter.studies.analysis.batches import Batch, fixed_batches
from mmqadapter.studies.analysis.directions import filter_normalized
from mmqadapter.studies.analysis.landscape import Scan, flatness, line, plane
from mmqadapter.studies.analysis.loss import FixedLoss
from mmqadapter.studies.analysis.perturbation import Perturbation
from mmqadapter.studies.analysis.plots import draw_lines, draw_planes
from mmqadapter.studies.analysis.progress import shown
from mmqadapter.studies.analysis.report import Row, Study, make_header, number
from mmqadapter.studies.analysis.sources import Source, build

LEGEND = (
    'Rises are means over directions and both signs, half of the radius and the whole radius away '
    'from the trained weights; curvature is the second difference next to them. At distance 1 '
    'every filter has moved by its own norm. Loss in eval mode (no dropout, running statistics), '
    'on the same batches and the same augmentation at each place.'
)


def study_landscape(
    sources: Sequence[Source],
    scan: Scan,
    split: str = 'train',
    batches: int = 4,
    batch_size: int = 0,
    weights: str = DECODED,
    device: str | None = None,
) -> Study:
    """Loss along filter-normalised random directions (arXiv 1712.09913).

    All models see the data of the first one's config. What moves is what tuning trained in the
    backbone: adapters, or for a full model all of its weights, without biases and norms.

    Args:
        sources: The models; of the first, the data.
        scan: Where to look.
        split: ``'train'`` or ``'val'``; see :func:`.batches.fixed_batches`.
        batches: How many.
        batch_size: Images in each; 0 for the config's.
        weights: See :func:`mmqadapter.studies.analysis.adapter_weights.tuned_weights`.
        device: Where; by default a GPU where there is one.

    Raises:
        FileNotFoundError: Data or a file that is not there.
        ValueError: Settings or weights that do not fit.
    """
    data = fixed_batches(sources[0].cfg, split, batches, batch_size, scan.seed)
    rows = [_row(source, data, scan, weights, device) for source in sources]
    header = make_header(
        sources,
        device,
        weights=weights,
        split=split,
        batches=batches,
        images=sum(map(_images, data)),
        **asdict(scan),
    )
    figures = {'line': draw_lines(rows)}
    if scan.plane_points:
        figures['plane'] = draw_planes(rows)
    title = 'Loss around the trained weights'
    return Study('landscape', title, header, rows, [_told(row) for row in rows], LEGEND, figures)


def _row(
    source: Source, batches: Sequence[Batch], scan: Scan, weights: str, device: str | None
) -> Row:
    model = build(source, device)
    moved = Perturbation(tuned_weights(model, weights))
    loss = FixedLoss(model, batches, scan.seed)
    places = scan.places(scan.points)
    lines = []
    for place in range(scan.directions):
        direction = filter_normalized(moved.start, scan.seed, place)
        title = f'{source.label}: line {place + 1} of {scan.directions}'
        lines.append(list(shown(line(loss, moved, direction, places), title, scan.points)))
    row: Row = {'model': source.label, 'moved': moved.count, **flatness(places, lines)}
    if not math.isfinite(row['loss']):
        raise ValueError(f'the loss of {source.file!r} is {row["loss"]}: its training has failed.')
    row.update(places=places, lines=lines)
    if scan.plane_points:
        row.update(plane_places=scan.places(scan.plane_points))
        row.update(plane=_surface(loss, moved, scan, source.label))
    return row


def _surface(loss: FixedLoss, moved: Perturbation, scan: Scan, label: str) -> list[list[float]]:
    places, side = scan.places(scan.plane_points), scan.plane_points
    first, second = (filter_normalized(moved.start, scan.seed, n) for n in range(2))
    values = plane(loss, moved, first, second, places)
    flat = list(shown(values, f'{label}: plane', side**2))
    return [flat[row * side : (row + 1) * side] for row in range(side)]


def _told(row: Row) -> dict[str, str]:
    names = ('moved', 'loss', 'rise_half', 'rise', 'curvature')
    return {'model': row['model'], **{name.replace('_', ', '): number(row[name]) for name in names}}


def _images(batch: Batch) -> int:
    samples: Any = batch['data_samples']
    return len(samples)
