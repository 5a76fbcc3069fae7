"""The tables of docs/compatibility.md, from the rows of all configs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.peer_configs.configs import WRAPPERS
from benchmarks.peer_configs.verdicts import BARE, WORKS, kind, verdict

PAGE = Path(__file__).resolve().parents[2] / 'docs/compatibility.md'
BEGIN, END = '<!-- made by benchmarks/peer_configs -->', '<!-- end -->'
Row = dict[str, Any]


def pair_of(row: Row) -> tuple[str, ...]:
    """Return package, backbone, model and head of a config."""
    package = row['config'].partition('/')[0]
    return package, row['backbone'], row['model'], row['head']


def tables(rows: Iterable[Row]) -> str:
    """Return all tables in Markdown."""
    rows = sorted(rows, key=lambda row: row['config'])
    run = [row for row in rows if 'bare' in row]
    return '\n\n'.join(
        [
            counts(rows, run),
            '### Backbones in our table',
            by_pair(run),
            '### What does not work',
            problems(run),
            '### Backbones that are refused',
            refusals(rows),
            '### Files that mmengine cannot load',
            broken(rows),
        ]
    )


def counts(rows: list[Row], run: list[Row]) -> str:
    """Return how many configs there are of each kind."""
    models = [row for row in rows if 'model' in row]
    refused = sum('refused' in row for row in models)
    lines = [
        f'{len(rows):,} config files, {len(models):,} with a model. {refused:,} have a backbone '
        f'that is not supported; {len(models) - refused:,} have one that is. '
        + progress(models, run),
        '',
        '| | ' + ' | '.join(WRAPPERS) + ' |',
        '|---' * (len(WRAPPERS) + 1) + '|',
    ]
    seen = {w: Counter(kind(verdict(row, w)) for row in run) for w in WRAPPERS}
    for name in sorted({name for counter in seen.values() for name in counter}):
        lines.append(f'| {name} | ' + ' | '.join(str(seen[w][name]) for w in WRAPPERS) + ' |')
    shares = [share(seen[wrapper], 0) for wrapper in WRAPPERS]
    lines.append(
        '| share that works, of those whose bare model runs | ' + ' | '.join(shares) + ' |'
    )
    if len(run) == len(models) - refused:
        shares = [share(seen[wrapper], refused) for wrapper in WRAPPERS]
        lines.append('| the same, with backbones not supported | ' + ' | '.join(shares) + ' |')
    return '\n'.join(lines)


def progress(models: list[Row], run: list[Row]) -> str:
    """Return how many configs have run, and how many of the others have a relative that has."""
    waiting = [row for row in models if 'refused' not in row and 'bare' not in row]
    if not waiting:
        return 'All of these have run:'
    pairs = {pair_of(row) for row in run}
    related = sum(pair_of(row) in pairs for row in waiting)
    return (
        f'{len(run):,} of these have run. {len(waiting):,} have not run yet; of {related:,} of '
        f'them another config with the same backbone, model and head has:'
    )


def share(kinds: Counter, refused: int) -> str:
    """Return the share of configs that work, among those whose bare model runs and some more."""
    works = sum(count for name, count in kinds.items() if name.startswith(WORKS))
    valid = sum(count for name, count in kinds.items() if name != BARE) + refused
    return f'{works / valid:.1%}' if valid else '-'


def by_pair(run: list[Row]) -> str:
    """Return a table with a line for each pair of backbone and head."""
    pairs: dict[tuple, list[Row]] = defaultdict(list)
    for row in run:
        pairs[pair_of(row)].append(row)
    lines = [
        '| package | backbone | model | head | configs | '
        + ' | '.join(WRAPPERS)
        + ' | rate of adapters |',
        '|---' * (len(WRAPPERS) + 6) + '|',
    ]
    for pair, members in sorted(pairs.items()):
        cells = [in_short(Counter(kind(verdict(row, w)) for row in members)) for w in WRAPPERS]
        rates = sorted(
            {rate for row in members for w in WRAPPERS for rate in row[w].get('rates', [])}
        )
        text = ', '.join(f'{rate:g}' for rate in rates) or '-'
        lines.append(f'| {" | ".join(pair)} | {len(members)} | {" | ".join(cells)} | {text} |')
    return '\n'.join(lines)


def in_short(kinds: Counter) -> str:
    """Return counts of verdicts; without a number if there is only one kind."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return ', '.join(f'{count} {name}' for name, count in sorted(kinds.items()))


def problems(run: list[Row]) -> str:
    """Return a list of all verdicts but 'works', each with its configs."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in run:
        for wrapper in WRAPPERS:
            text = verdict(row, wrapper)
            if not text.startswith(WORKS):
                found[text][row['config']].append(wrapper)
    lines = ['| configs | what happens | which |', '|---|---|---|']
    for text, configs in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        columns = {wrapper for wrappers in configs.values() for wrapper in wrappers}
        where = '' if len(columns) == len(WRAPPERS) else f' ({columns.pop()})'
        lines.append(f'| {len(configs)} | {escape(text)}{where} | {in_folders(configs)} |')
    return '\n'.join(lines) if found else 'Nothing.'


def in_folders(names: Iterable[str]) -> str:
    """Return names of configs, by folder, with a count where there are many."""
    folders = Counter(name.rpartition('/')[0] for name in names)
    first = {name.rpartition('/')[0]: name for name in sorted(names, reverse=True)}
    parts = [
        f'`{first[folder]}`' if count == 1 else f'`{folder}/` ({count})'
        for folder, count in sorted(folders.items())
    ]
    return ', '.join(parts)


def refusals(rows: list[Row]) -> str:
    """Return a table of the backbones that are refused, with the words."""
    found: dict[tuple[str, str, str], int] = Counter()
    for row in rows:
        if 'refused' in row:
            package = row['config'].partition('/')[0]
            found[package, row['backbone'], row['refused']] += 1
    lines = ['| package | backbone | configs | words |', '|---|---|---|---|']
    for (package, backbone, words), count in sorted(found.items(), key=lambda item: -item[1]):
        lines.append(f'| {package} | {backbone} | {count} | {escape(words)} |')
    return '\n'.join(lines)


def broken(rows: list[Row]) -> str:
    """Return a table of the files that cannot be loaded."""
    lines = ['| file | words |', '|---|---|']
    lines += [f'| `{row["config"]}` | {escape(row["broken"])} |' for row in rows if 'broken' in row]
    return '\n'.join(lines)


def escape(text: str) -> str:
    """Return a text for a cell of a table."""
    return text.replace('|', '\\|').replace('<', '&lt;')


def render_page(rows: dict[str, Row]) -> None:
    """Insert the tables into the page."""
    before, _, rest = PAGE.read_text(encoding='utf-8').partition(BEGIN)
    after = rest.partition(END)[2]
    text = tables(rows.values())
    PAGE.write_text(f'{before}{BEGIN}\n\n{text}\n\n{END}{after}', encoding='utf-8')
