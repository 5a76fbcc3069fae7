"""The studies of low-bit adapters on the models of a sweep: do the paper's claims hold here?

python benchmarks/findings.py DIR --out benchmarks/results/findings_camvid

DIR is the ``--out`` of a sweep (configs/sweeps/camvid.yaml, nuclei.yaml) with full fine-tuning,
and adapters in path and on the highway at 32 bits and 1 bit. For both kinds of adapters this runs
the four studies of ``tools/analyze.py`` (docs/analysis.md) on the models of one seed, one after
another, each into a folder of its own; what is there already is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

ANALYZE = Path(__file__).resolve().parents[1] / 'tools' / 'analyze.py'
KINDS = {'in_path': 'adaptformer-64', 'highway': 'highway-joined'}


class Run:
    """A trained model of a sweep.

    Args:
        sweep: Folder of the sweep.
        method: Its method.
        seed: Its seed.

    Raises:
        FileNotFoundError: The sweep has no such training.
    """

    def __init__(self, sweep: Path, method: str, seed: int) -> None:
        found = sorted((sweep / 'runs').glob(f'seed_{method}_*_seed{seed}_head*'))
        if not found:
            raise FileNotFoundError(
                f'{str(sweep)!r} has no training of {method!r} with seed {seed}; run the sweep '
                'with this method first.'
            )
        self.config = found[0] / 'config.py'
        self.task = found[0] / 'work' / 'last.task.safetensors'
        self.checkpoint = max(found[0].glob('work/*.pth'), default=self.task)


def studies(sweep: Path, kind: str, seed: int) -> Iterator[tuple[str, list[str | Path]]]:
    """Names and arguments of ``tools/analyze.py``."""
    method = KINDS[kind]
    full, wide, low = (Run(sweep, name, seed) for name in ('full', method, f'{method}@1'))
    against = ['--full', full.config, full.checkpoint]
    for name, run in (('32_bits', wide), ('1_bit', low)):
        yield f'landscape_{name}', ['landscape', run.config, run.task, *against]
        yield f'noise_{name}', ['noise', run.config, run.task, *against]
    yield 'distribution_32_bits', ['distribution', wide.config, wide.checkpoint]
    yield 'distribution_1_bit', ['distribution', low.config, low.checkpoint]
    yield 'error', ['error', wide.config, wide.task, '--metric', '--trained', low.task]


def main() -> int:
    """Run all studies; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    failed = []
    for kind in args.kinds:
        for name, arguments in studies(args.sweep, kind, args.seed):
            out = args.out / kind / name
            if any(out.glob('*.json')):
                continue
            Console().rule(f'{kind}: {name}')
            command = [sys.executable, ANALYZE, *arguments, '--out', out]
            if subprocess.run([str(word) for word in command]).returncode:
                failed.append(f'{kind}/{name}')
    if failed:
        Console().print(f'failed: {", ".join(failed)}', style='bold red')
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
