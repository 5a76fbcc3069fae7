"""Bytes of a whole task against its metric: neck and head at few bits, after training and in it.

python benchmarks/head_bits.py DIR --out benchmarks/results/head_bits_camvid

DIR is the ``--out`` of configs/sweeps/camvid_head_bits.yaml or nuclei_head_bits.yaml: a method, and
the same with neck and head trained at few bits (METHOD-head-BITS). The task files of the former are
exported with few bits and tested, which makes the curve of quantisation after training; the report
of the sweep gives the scores of the latter. Shares are those of the task in float32, adapters
included.
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

from mmqadapter.engine.runner import load_config
from mmqadapter.interop.export import export_task, parse_head_bits
from mmqadapter.studies.analysis.evaluation import evaluation, score_of
from mmqadapter.studies.analysis.report import Row, Study, make_header, number, write_study
from mmqadapter.studies.analysis.sources import Source, adapted_source
from mmqadapter.studies.sweep.outcome import unit_of

FLOAT_BYTES = 4
AFTER, TRAINED = 'after training', 'in training'
LEGEND = (
    'Bits are those of the weights of neck and head; biases, norms and embeddings beside them have '
    '16 (at 32 bits: 32). Bytes are those of the whole task file, shares those of all that trains '
    'in float32, adapters included. Change is the mean difference to 32 bits of the same seed.'
)


def runs(sweep: Path, method: str) -> dict[int, Path]:
    """Trained models of a method by seed.

    Raises:
        FileNotFoundError: None is there.
    """
    found = sorted((sweep / 'runs').glob(f'seed_{method}_iterations*'))
    if not found:
        raise FileNotFoundError(f'{str(sweep)!r} has no training of {method!r}; run the sweep.')
    return {int(run.name.split('_seed')[1].split('_')[0]): run for run in found}


def source_of(run: Path) -> Source:
    """Return the task file of a training."""
    task = run / 'work_dir' / 'last.task.safetensors'
    return adapted_source(load_config(run / 'config.py'), str(task))


def after_training(run: Path, settings: Sequence[str], metric: str) -> Iterator[tuple[int, float]]:
    """Bytes and score in points of the task of a run, exported with each setting."""
    source = source_of(run)
    with TemporaryDirectory() as folder:
        for place, words in enumerate(settings):
            out = Path(folder, f'{place}.task.safetensors')
            export_task(source.file, out, source.cfg.filename, parse_head_bits(words.split()))
            with evaluation(Source(words, source.cfg, str(out))) as evaluate:
                yield out.stat().st_size, unit_of(metric) * score_of(evaluate(), metric)


def make_rows(sweep: Path, method: str, settings: Sequence[str], limit: int) -> list[Row]:
    """One row a setting, quantised after training, then those of the sweep's report."""
    report = json.loads((sweep / 'report.json').read_text())
    trained = {row['method']: row for row in report['rows']}
    float_bytes = FLOAT_BYTES * trained[method]['trainable_params']
    chosen = list(runs(sweep, method).values())[:limit]
    found = [list(after_training(run, settings, report['header']['metric'])) for run in
             track(chosen, 'quantised after training')]  # fmt: skip
    plain = [scores[settings.index('32')][1] for scores in found]
    rows = [
        _row(AFTER, words, [one[place] for one in found], plain, float_bytes)
        for place, words in enumerate(settings)
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
    found: Sequence[tuple[int, float]],
    plain: Sequence[float],
    float_bytes: int,
) -> Row:
    sizes, scores = zip(*found, strict=True)
    return {
        'kind': kind,
        'bits': bits,
        'task_bytes': max(sizes),
        'share_of_float': max(sizes) / float_bytes,
        'scores': list(scores),
        'score': statistics.fmean(scores),
        'change': statistics.fmean(a - b for a, b in zip(scores, plain, strict=True)),
    }


def told(row: Row, metric: str) -> dict[str, str]:
    """Return a row of the table in Markdown."""
    return {
        'quantised': row['kind'],
        'bits': row['bits'],
        'bytes': f'{row["task_bytes"]:,}',
        'share': f'1/{1 / row["share_of_float"]:.1f}',
        'seeds': ' '.join(f'{score:.1f}' for score in row['scores']),
        metric: number(row['score']),
        'change': f'{row["change"]:+.2f}',
    }


def draw(rows: Sequence[Row], metric: str) -> Figure:
    """Metric against bytes, a line a kind."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    for kind, style in ((AFTER, 'o-'), (TRAINED, '*--')):
        own = sorted((r for r in rows if r['kind'] == kind), key=lambda row: row['task_bytes'])
        axis.plot([r['task_bytes'] for r in own], [r['score'] for r in own], style, label=kind)
        for row in own:
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
    axis.legend(title='neck and head quantised')
    return figure


def main() -> None:
    """Export, test, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument('--method', default='highway-joined@1')
    parser.add_argument(
        '--head-bits', nargs='+', default=['32', '16', '8', '4', '2', '1'], metavar='BITS',
        help="as tools/task.py export takes them, patterns too: '4 decode_head.conv_seg=8'",
    )  # fmt: skip
    parser.add_argument('--seeds', type=int, default=3, help='at most so many')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    settings = ['32', *(words for words in args.head_bits if words != '32')]
    rows = make_rows(args.sweep, args.method, settings, args.seeds)
    report: dict[str, Any] = json.loads((args.sweep / 'report.json').read_text())
    metric = report['header']['metric']
    source = source_of(next(iter(runs(args.sweep, args.method).values())))
    study = Study(
        'head_bits', 'Neck and head at few bits', make_header([source], metric=metric), rows,
        [told(row, metric) for row in rows], LEGEND, {'curve': draw(rows, metric)},
    )  # fmt: skip
    for path in write_study(study, args.out):
        Console().print(path, markup=False)


if __name__ == '__main__':
    main()
