"""A plan as a reader sees it."""

from __future__ import annotations

from rich.table import Table

from mmqadapter.studies.planner.plan import ADAPTERS, FILE, Candidate, Plan, taken

# Parameters are those that train.
COLUMNS = (
    'width', 'bits', 'head bits', 'adapter params', 'all params', 'adapter bytes', 'file bytes',
    'share',
)  # fmt: skip


def plan_table(plan: Plan, title: str, everything: bool = False) -> Table:
    """Table of what fits: all, or for each bits and head bits the widest."""
    rows = [_cells(one, plan) for one in (plan.fits if everything else plan.widest)]
    table = Table(title=title)
    for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        # Words above may fold in a narrow terminal, numbers may not.
        table.add_column(name, justify='right', min_width=max(map(len, column)))
    for row in rows:
        table.add_row(*row)
    return table


def nearest_line(plan: Plan) -> str:
    """What the smallest is that does not fit; where nothing does, what could be changed."""
    what = 'task file' if plan.limited == FILE else 'adapters'
    if plan.nearest is None:
        return 'All of these combinations fit; --widths takes larger ones.'
    one = plan.nearest
    line = (
        f'Nearest that does not fit: width {one.width} at {one.bits} bits, head at '
        f'{one.head_bits}: {taken(one, plan.limited):,} bytes of {what}, '
        f'{taken(one, plan.limited) - plan.max_bytes:,} too many.'
    )
    if plan.fits or plan.limited == ADAPTERS:
        return line
    rest = one.file_bytes - one.adapter_bytes
    return f'{line} {rest:,} of them are neck and head: --of adapters plans the adapters alone.'


def _cells(candidate: Candidate, plan: Plan) -> list[str]:
    counts = (
        candidate.adapter_parameters,
        candidate.trainable_parameters,
        candidate.adapter_bytes,
        candidate.file_bytes,
    )
    sizes = (candidate.width, candidate.bits, candidate.head_bits)
    share = f'{taken(candidate, plan.limited) / plan.max_bytes:.0%}'
    return [*map(str, sizes), *(f'{count:,}' for count in counts), share]
