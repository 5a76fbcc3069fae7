"""Run every config that mmdet and mmseg ship, with its backbone in our wrappers.

python -m benchmarks.peer_configs                  # hours on one core; can be resumed
python -m benchmarks.peer_configs --only swin/     # configs whose name contains a text
python -m benchmarks.peer_configs --render         # only the tables of docs/compatibility.md

What is known is in the results file, a line of JSON per config; delete a line to run it again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

from benchmarks.peer_configs.configs import WRAPPERS, shipped_configs
from benchmarks.peer_configs.language import write_language_model
from benchmarks.peer_configs.survey import survey_all
from benchmarks.peer_configs.tables import render_page

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks/results/peer_configs.jsonl'
Rows = dict[str, dict[str, Any]]  # by config


class Results:
    """Rows in a file, one line each; a later line of the same config completes an earlier one."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, read_rows(path)
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Add what a row says, and write it."""
        self.rows.setdefault(row['config'], {}).update(row)
        with self.path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')

    def sort(self) -> None:
        """Rewrite the file with one line per config, in order of names."""
        lines = [json.dumps(self.rows[name]) + '\n' for name in sorted(self.rows)]
        self.path.write_text(''.join(lines), encoding='utf-8')


def read_rows(path: Path) -> Rows:
    """Return the rows of a results file."""
    rows: Rows = {}
    for line in path.read_text(encoding='utf-8').splitlines() if path.exists() else ():
        row = json.loads(line)
        rows.setdefault(row['config'], {}).update(row)
    return rows


def run_groups(results: Results, names: list[str], arguments: argparse.Namespace) -> None:
    """Run one child process for each group of equal configs that has not run yet."""
    groups = defaultdict(list)
    for name in names:
        row = results.rows[name]
        if 'group' in row and 'bare' not in row:
            groups[row['group']].append(name)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outputs = pool.map(lambda group: run_group(group, arguments), groups.values())
        for number, rows in enumerate(outputs, start=1):
            for row in rows:
                results.add(row)
            print(f'{number}/{len(groups)} {rows[0]["config"]} ({len(rows)})', flush=True)


def run_group(names: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of equal configs, from a child process; it may crash or hang."""

    def limit_memory() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (arguments.memory << 30,) * 2)

    with tempfile.TemporaryDirectory() as folder:
        write_language_model(Path(folder, 'bert'))
        child = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.peer_configs.check', folder, *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false'},
            preexec_fn=limit_memory,
        )
        try:
            output, _ = child.communicate(timeout=arguments.timeout)
            end = f'exit status {child.returncode}'
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
            end = f'stopped after {arguments.timeout} s'
    lines = [line.removeprefix('ROW ') for line in output.splitlines() if line.startswith('ROW ')]
    rows = {row['config']: row for row in map(json.loads, lines)}
    last = (output.splitlines() or [''])[-1]
    return [rows.get(name) or crashed(name, f'{end}: {last[:300]}') for name in names]


def crashed(name: str, words: str) -> dict[str, Any]:
    """Return the row of a config whose child process said nothing about it."""
    outcome = dict(stage='process', words=words, faults=[], rates=[], start=None, seconds=0)
    return {'config': name, 'bare': outcome, **{wrapper: outcome for wrapper in WRAPPERS}}


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--results', type=Path, default=RESULTS, help='file of the rows')
    parser.add_argument('--only', nargs='*', help='configs whose names contain one of these texts')
    parser.add_argument('--jobs', type=int, default=1, help='child processes at a time')
    parser.add_argument('--timeout', type=int, default=900, help='seconds for equal configs')
    parser.add_argument('--memory', type=int, default=12, help='GB of a child process')
    parser.add_argument('--survey', action='store_true', help='run nothing, only sort the configs')
    parser.add_argument('--render', action='store_true', help='only make the tables')
    return parser.parse_args()


def main() -> None:
    """Run what has not run yet, and insert the tables into the page."""
    arguments = parse_arguments()
    warnings.simplefilter('ignore')
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    results = Results(arguments.results)
    if not arguments.render:
        names = shipped_configs()
        if arguments.only is not None:
            names = [name for name in names if any(text in name for text in arguments.only)]
        survey_all(names, results.rows, results.add)
        if not arguments.survey:
            run_groups(results, names, arguments)
        results.sort()
    if arguments.results == RESULTS:
        render_page(results.rows)


if __name__ == '__main__':
    main()
