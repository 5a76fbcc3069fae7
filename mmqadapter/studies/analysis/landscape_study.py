"""Study of the loss landscape around trained adapters and around fully fine-tuned weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mmqadapter.studies.analysis.adapter_weights import DECODED, tuned_weights
from mmqadapter.studies.analysis.batches import Batch, fixed_batches
from mmqadapter.studies.analysis.directions import filter_normalized
from mmqadapter.studies.analysis.landscape import Scan, flatness, losses_on_line, losses_on_plane
from mmqadapter.studies.analysis.loss import FixedLoss
from mmqadapter.studies.analysis.perturbation import Perturbation
from mmqadapter.studies.analysis.plots import draw_lines, draw_planes
from mmqadapter.studies.analysis.progress import with_progress
from mmqadapter.studies.analysis.report import Row, Study, make_header, number
from mmqadapter.studies.analysis.sources import Source, build

LEGEND = (
    'Rises are means over directions and both signs, at half of the radius and at the radius from '
    'the trained weights; curvature is the second difference next to them; moved is the number of '
    'weights. At distance 1 every filter has moved by its own norm. The loss is that of eval mode '
    '(no dropout, running statistics), on the same batches with the same augmentation everywhere.'
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
    """Compute the loss along filter-normalized random directions (arXiv 1712.09913).

    All models see the data of the first one's config. The directions cover the weights that tuning
    trained in the backbone: those of the adapters, or for a full model those of the whole
    backbone, without biases and norms.

    Args:
        sources: The models; the first one's config names the data.
        scan: Positions to evaluate.
        split: ``'train'`` or ``'val'``; see :func:`.batches.fixed_batches`.
        batches: Number of batches.
        batch_size: Images per batch; 0 for the batch size of the config.
        weights: See :func:`mmqadapter.studies.analysis.adapter_weights.tuned_weights`.
        device: Device of the models; by default a GPU if there is one.

    Raises:
        FileNotFoundError: Data or a file do not exist.
        ValueError: Settings are invalid, or weights do not fit.
    """
    data = fixed_batches(sources[0].cfg, split, batches, batch_size, scan.seed)
    rows = [_row(source, data, scan, weights, device) for source in sources]
    header = make_header(
        sources,
        device,
        weights=weights,
        split=split,
        batches=batches,
        images=sum(map(_image_count, data)),
        **asdict(scan),
    )
    figures = {'line': draw_lines(rows)}
    if scan.plane_points:
        figures['plane'] = draw_planes(rows)
    title = 'Loss around the trained weights'
    lines = [_table_line(row) for row in rows]
    return Study('landscape', title, header, rows, lines, LEGEND, figures)


def _row(
    source: Source, batches: Sequence[Batch], scan: Scan, weights: str, device: str | None
) -> Row:
    model = build(source, device)
    perturbation = Perturbation(tuned_weights(model, weights))
    loss = FixedLoss(model, batches, scan.seed)
    positions = scan.positions(scan.points)
    lines = []
    for index in range(scan.directions):
        direction = filter_normalized(perturbation.start, scan.seed, index)
        losses = losses_on_line(loss, perturbation, direction, positions)
        title = f'{source.label}: line {index + 1} of {scan.directions}'
        lines.append(list(with_progress(losses, title, scan.points)))
    row: Row = {'model': source.label, 'moved': perturbation.count, **flatness(positions, lines)}
    if not math.isfinite(row['loss']):
        raise ValueError(f'the loss of {source.file!r} is {row["loss"]}: its training has failed.')
    row.update(places=positions, lines=lines)
    if scan.plane_points:
        row.update(plane_places=scan.positions(scan.plane_points))
        row.update(plane=_plane(loss, perturbation, scan, source.label))
    return row


def _plane(
    loss: FixedLoss, perturbation: Perturbation, scan: Scan, label: str
) -> list[list[float]]:
    positions, side = scan.positions(scan.plane_points), scan.plane_points
    first, second = (filter_normalized(perturbation.start, scan.seed, n) for n in range(2))
    losses = losses_on_plane(loss, perturbation, first, second, positions)
    flat = list(with_progress(losses, f'{label}: plane', side**2))
    return [flat[row * side : (row + 1) * side] for row in range(side)]


def _table_line(row: Row) -> dict[str, str]:
    names = ('moved', 'loss', 'rise_half', 'rise', 'curvature')
    return {'model': row['model'], **{name.replace('_', ', '): number(row[name]) for name in names}}


def _image_count(batch: Batch) -> int:
    samples: Any = batch['data_samples']
    return len(samples)
