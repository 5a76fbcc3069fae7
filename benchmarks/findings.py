"""Studies of low-bit adapters on the models of a sweep, to check the claims of the paper.

python benchmarks/findings.py DIR --out benchmarks/results/findings_camvid

DIR is the ``--out`` of a sweep (configs/sweeps/camvid.yaml, nuclei.yaml) with full fine-tuning,
and adapters in path and on the highway at 32 bits and 1 bit. For both kinds of adapters the four
studies of ``tools/analyze.py`` (docs/analysis.md) run on the models of one seed, each with its own
folder; studies that exist already are skipped. ``report.md`` has the results of all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from mmqadapter.utils.atomic import atomic_write

ANALYZE = Path(__file__).resolve().parents[1] / 'tools' / 'analyze.py'
KINDS = {'in_path': 'adaptformer-64', 'highway': 'highway-joined'}
SCAN = ['--points', '11', '--directions', '3']
SIGMAS = ['--sigmas', '0,0.1,0.2,0.5,1']


class Run:
    """Trained model of a sweep.

    Args:
        sweep: Folder of the sweep.
        method: Method of the training.
        seed: Seed of the training.

    Raises:
        FileNotFoundError: The sweep has no such training.
    """

    def __init__(self, sweep: Path, method: str, seed: int) -> None:
        folders = sorted((sweep / 'runs').glob(f'seed_{method}_*_seed{seed}_head*'))
        if not folders:
            raise FileNotFoundError(
                f'{str(sweep)!r} has no training of {method!r} with seed {seed}; run the sweep '
                'with this method first.'
            )
        self.config = folders[0] / 'config.py'
        self.task = folders[0] / 'work_dir' / 'last.task.safetensors'
        self.checkpoint = max(folders[0].glob('work_dir/*.pth'), default=self.task)


def studies(
    sweep: Path, kind: str, seed: int, repeats: int, side: int
) -> Iterator[tuple[str, list[str | Path]]]:
    """Yield the name and the arguments of each call of ``tools/analyze.py``."""
    noise = [*SIGMAS, '--repeats', str(repeats)]
    scan = [*SCAN, '--plane-points', str(side)]
    method = KINDS[kind]
    full, wide, low = (Run(sweep, name, seed) for name in ('full', method, f'{method}@1'))
    # Directions and noise depend only on the seed, so that full fine-tuning is studied once.
    full_options = ['--full', full.config, full.checkpoint] if kind == next(iter(KINDS)) else []
    for name, run, options in (('32_bits', wide, full_options), ('1_bit', low, [])):
        yield f'landscape_{name}', ['landscape', run.config, run.task, *options, *scan]
        yield f'noise_{name}', ['noise', run.config, run.task, *options, *noise]
    yield 'distribution_32_bits', ['distribution', wide.config, wide.checkpoint]
    yield 'distribution_1_bit', ['distribution', low.config, low.checkpoint]
    yield 'error', ['error', wide.config, wide.task]
    scores = ['--metric', '--criteria', 'l1', '--trained', low.task]
    yield 'scores', ['error', wide.config, wide.task, *scores]


def rows(out: Path, study: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a study for all kinds and bits, each with the name of its model."""
    for path in sorted(out.glob(f'*/{study}*/*.json')):
        model = f'{path.parts[-3]}, {path.parts[-2].removeprefix(study).strip("_")}'
        for row in json.loads(path.read_text())['rows']:
            is_full = row.get('model', '').startswith('full')
            yield ('full' if is_full else model).replace('_', ' ').strip(', '), row


def table(title: str, head: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table under a heading; floats have four significant digits."""
    cells = [[f'{c:.4g}' if isinstance(c, float) else str(c) for c in line] for line in lines]
    head = list(head)
    table_lines = [head, ['---'] * len(head), *cells]
    return '\n'.join([f'## {title}', '', *(f'| {" | ".join(line)} |' for line in table_lines), ''])


def report(out: Path) -> str:
    """Return the tables of all existing studies."""
    flat = ('moved', 'loss', 'rise_half', 'rise', 'curvature')
    shape = ('skewness', 'excess_kurtosis', 'straightness')
    loss = ('bits', 'criterion', 'granularity', 'relative_error', 'gaussian_error')
    score = ('kind', 'bits', 'granularity', 'score')
    pooled = [(m, r) for m, r in rows(out, 'distribution') if r['matrix'] == r['kind']]
    noisy = [(m, *(r[k] for k in ('sigma', 'mean', 'deviation'))) for m, r in rows(out, 'noise')]
    return '\n'.join(
        [
            table('Landscape', ['model', *flat], _select(rows(out, 'landscape'), flat)),
            table('Noise', ['model', 'sigma', 'score', 'deviation'], noisy),
            table('Distribution', ['model', *shape], _select(pooled, shape)),
            table('Error', ['model', *loss], _select(rows(out, 'error'), loss)),
            table('Scores', ['model', *score], _select(rows(out, 'scores'), score)),
        ]
    )


def _select(
    models: Iterable[tuple[str, dict[str, Any]]], keys: Iterable[str]
) -> Iterator[list[object]]:
    keys = tuple(keys)
    for model, row in models:
        yield [model, *(row[key] for key in keys)]


def main() -> int:
    """Run all studies, and return 1 if one of them fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--repeats', type=int, default=2, help='noise samples per size')
    parser.add_argument('--plane-points', type=int, default=7, help='0: only lines')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    failed = []
    for kind in args.kinds:
        planned = studies(args.sweep, kind, args.seed, args.repeats, args.plane_points)
        for name, arguments in planned:
            out = args.out / kind / name
            if any(out.glob('*.json')):
                continue
            Console().rule(f'{kind}: {name}')
            command = [sys.executable, ANALYZE, *arguments, '--out', out]
            if subprocess.run([str(word) for word in command]).returncode:
                failed.append(f'{kind}/{name}')
    atomic_write(args.out / 'report.md', report(args.out).encode())
    if failed:
        Console().print(f'failed: {", ".join(failed)}', style='bold red')
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
