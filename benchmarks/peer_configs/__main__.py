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
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

from benchmarks.peer_configs.configs import shipped_configs
from benchmarks.peer_configs.processes import COLUMNS, run_group
from benchmarks.peer_configs.survey import survey_all
from benchmarks.peer_configs.tables import pair_of, render_page

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

    def replace(self, row: dict[str, Any]) -> None:
        """Put a row of the survey in the place of an older one, but keep what was run."""
        old = self.rows.pop(row['config'], {})
        runs = {key: old[key] for key in COLUMNS if key in old and 'group' in row}
        self.add({**row, **runs})

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
    groups = groups_in_order(results.rows, names)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outputs = pool.map(lambda group: run_group(group, arguments), groups)
        for number, rows in enumerate(outputs, start=1):
            for row in rows:
                results.add(row)
            print(f'{number}/{len(groups)} {rows[0]["config"]} ({len(rows)})', flush=True)


def groups_in_order(rows: Rows, names: list[str]) -> list[list[str]]:
    """Return the groups of equal configs that have not run yet.

    One group of each backbone comes first, then one of each pair of backbone and head, then the
    others; among these, pairs and groups of many configs come first.
    """
    groups = defaultdict(list)
    for name in names:
        if 'group' in rows[name] and 'bare' not in rows[name]:
            groups[rows[name]['group']].append(name)
    supported = [row for row in rows.values() if 'group' in row]
    sizes = Counter(map(pair_of, supported))
    seen = {part for row in supported if 'bare' in row for part in parts_of(pair_of(row))}
    order = []
    for group in sorted(groups.values(), key=lambda group: (-len(group), group)):
        pair = pair_of(rows[group[0]])
        known = sum(part in seen for part in parts_of(pair))
        order.append((known, -sizes[pair] if known < 2 else -len(group), group))
        seen.update(parts_of(pair))
    return [group for *_, group in sorted(order)]


def parts_of(pair: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the pair and its backbone alone."""
    return [pair, pair[:2]]


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
    parser.add_argument('--survey', action='store_true', help='sort all configs again, run none')
    parser.add_argument('--render', action='store_true', help='only make the tables')
    return parser.parse_args()


def main() -> None:
    """Run what has not run yet, and insert the tables into the page."""
    arguments = parse_arguments()
    os.environ.update(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false')
    warnings.simplefilter('ignore')
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    results = Results(arguments.results)
    if not arguments.render:
        names = shipped_configs()
        if arguments.only is not None:
            names = [name for name in names if any(text in name for text in arguments.only)]
        survey_all(names, {} if arguments.survey else results.rows, results.replace)
        if not arguments.survey:
            run_groups(results, names, arguments)
        results.sort()
    if arguments.results == RESULTS:
        render_page(results.rows)


if __name__ == '__main__':
    main()
