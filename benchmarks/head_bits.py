"""Size of a task file against its metric, with neck and head at few bits.

python benchmarks/head_bits.py DIR --out benchmarks/results/head_bits_camvid

DIR is the ``--out`` of configs/sweeps/camvid_head_bits.yaml or nuclei_head_bits.yaml: a method, and
the same with neck and head trained at few bits (METHOD-head-BITS). For quantization after training
the task files of the former are exported with few bits and tested; for quantization in training
the scores come from the report of the sweep. Shares are relative to the task in float32 including
its adapters.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from rich.console import Console
from rich.progress import track

from mmqadapter.cli.head_bits import parse_head_bits
from mmqadapter.engine.runner import load_config
from mmqadapter.interop.export import export_task
from mmqadapter.studies.analysis.evaluation import evaluation, metric_value
from mmqadapter.studies.analysis.report import Row, Study, make_header, number, write_study
from mmqadapter.studies.analysis.sources import Source, adapted_source
from mmqadapter.studies.sweep.outcome import unit_of

FLOAT_BYTES = 4
AFTER, TRAINED = 'after training', 'in training'
LEGEND = (
    'Bits are those of the weights of neck and head; their biases, norms and embeddings have 16 '
    '(at 32 bits: 32). Bytes are those of the whole task file; shares are relative to all '
    'trainable parameters in float32. Change is the mean difference to 32 bits of the same seed.'
)


def runs(sweep: Path, method: str) -> dict[int, Path]:
    """Return the folders of the trainings of a method, by seed.

    Raises:
        FileNotFoundError: There is no such training.
    """
    folders = sorted((sweep / 'runs').glob(f'seed_{method}_iterations*'))
    if not folders:
        raise FileNotFoundError(f'{str(sweep)!r} has no training of {method!r}; run the sweep.')
    return {int(run.name.split('_seed')[1].split('_')[0]): run for run in folders}


def source_of(run: Path) -> Source:
    """Return the task file of a training, with its config."""
    task = run / 'work_dir' / 'last.task.safetensors'
    return adapted_source(load_config(run / 'config.py'), str(task))


def after_training(run: Path, settings: Sequence[str], metric: str) -> Iterator[tuple[int, float]]:
    """Export the task of a run with each setting, and yield its bytes and score in points."""
    source = source_of(run)
    with TemporaryDirectory() as folder:
        for index, bits in enumerate(settings):
            out = Path(folder, f'{index}.task.safetensors')
            export_task(source.file, out, source.cfg.filename, parse_head_bits(bits.split()))
            with evaluation(Source(bits, source.cfg, str(out))) as evaluate:
                yield out.stat().st_size, unit_of(metric) * metric_value(evaluate(), metric)


def make_rows(sweep: Path, method: str, settings: Sequence[str], limit: int) -> list[Row]:
    """Return a row per setting after training, then the rows of the sweep's report."""
    report = json.loads((sweep / 'report.json').read_text())
    trained = {row['method']: row for row in report['rows']}
    float_bytes = FLOAT_BYTES * trained[method]['trainable_params']
    selected = list(runs(sweep, method).values())[:limit]
    results = [list(after_training(run, settings, report['header']['metric'])) for run in
               track(selected, 'quantized after training')]  # fmt: skip
    plain = [scores[settings.index('32')][1] for scores in results]
    rows = [
        _row(AFTER, bits, [result[index] for result in results], plain, float_bytes)
        for index, bits in enumerate(settings)
    ]
    before = trained[method]['scores']
    for name, row in trained.items():
        if name.startswith(f'{method}-head-'):
            sized = [(row['task_bytes'], score) for score in row['scores'].values()]
            base = [before[seed] for seed in row['scores']]
            rows.append(_row(TRAINED, name.rpartition('-')[2], sized, base, float_bytes))
    return rows


def _row(
    kind: str,
    bits: str,
    results: Sequence[tuple[int, float]],
    plain: Sequence[float],
    float_bytes: int,
) -> Row:
    sizes, scores = zip(*results, strict=True)
    return {
        'kind': kind,
        'bits': bits,
        'task_bytes': max(sizes),
        'share_of_float': max(sizes) / float_bytes,
        'scores': list(scores),
        'score': statistics.fmean(scores),
        'change': statistics.fmean(a - b for a, b in zip(scores, plain, strict=True)),
    }


def table_line(row: Row, metric: str) -> dict[str, str]:
    """Return a row as texts of a table."""
    return {
        'quantized': row['kind'],
        'bits': row['bits'],
        'bytes': f'{row["task_bytes"]:,}',
        'share': f'1/{1 / row["share_of_float"]:.1f}',
        'seeds': ' '.join(f'{score:.1f}' for score in row['scores']),
        metric: number(row['score']),
        'change': f'{row["change"]:+.2f}',
    }


def draw(rows: Sequence[Row], metric: str) -> Figure:
    """Plot the metric against bytes, with a line for each kind of quantization."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    for kind, style in ((AFTER, 'o-'), (TRAINED, '*--')):
        group = sorted((r for r in rows if r['kind'] == kind), key=lambda row: row['task_bytes'])
        axis.plot([r['task_bytes'] for r in group], [r['score'] for r in group], style, label=kind)
        for row in group:
            general, *patterns = row['bits'].split()
            axis.annotate(
                f'{general} mixed' if patterns else general, (row['task_bytes'], row['score']),
                (4, 5), textcoords='offset points', fontsize=8,
            )  # fmt: skip
    axis.set_xscale('log')
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(EngFormatter(unit='B'))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel('bytes of the task file')
    axis.set_ylabel(metric)
    axis.grid(alpha=0.3)
    axis.legend(title='neck and head quantized')
    return figure


def main() -> None:
    """Export and test the tasks, and write the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument('--method', default='highway-joined@1')
    parser.add_argument(
        '--head-bits', nargs='+', default=['32', '16', '8', '4', '2', '1'], metavar='BITS',
        help="as for tools/task.py export, also with patterns: '4 decode_head.conv_seg=8'",
    )  # fmt: skip
    parser.add_argument('--seeds', type=int, default=3, help='maximum number of seeds')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    settings = ['32', *(bits for bits in args.head_bits if bits != '32')]
    rows = make_rows(args.sweep, args.method, settings, args.seeds)
    report: dict[str, Any] = json.loads((args.sweep / 'report.json').read_text())
    metric = report['header']['metric']
    source = source_of(next(iter(runs(args.sweep, args.method).values())))
    study = Study(
        'head_bits', 'Neck and head at few bits', make_header([source], metric=metric), rows,
        [table_line(row, metric) for row in rows], LEGEND, {'curve': draw(rows, metric)},
    )  # fmt: skip
    for path in write_study(study, args.out):
        Console().print(path, markup=False)


if __name__ == '__main__':
    main()
