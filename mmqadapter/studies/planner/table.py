"""Text output of a plan."""

from __future__ import annotations

from rich.table import Table

from mmqadapter.studies.planner.plan import ADAPTERS, FILE, Candidate, Plan, limited_bytes

# Parameters are trainable ones.
COLUMNS = (
    'width', 'bits', 'head bits', 'adapter params', 'all params', 'adapter bytes', 'file bytes',
    'share',
)  # fmt: skip


def plan_table(plan: Plan, title: str, everything: bool = False) -> Table:
    """Return a table of the candidates that fit.

    Args:
        plan: The plan.
        title: Title of the table.
        everything: List all of them, not just the widest for each pair of bits and head bits.
    """
    rows = [_cells(candidate, plan) for candidate in (plan.fits if everything else plan.widest)]
    table = Table(title=title)
    for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        # Headings may fold in a narrow terminal, numbers may not.
        table.add_column(name, justify='right', min_width=max(map(len, column)))
    for row in rows:
        table.add_row(*row)
    return table


def nearest_line(plan: Plan) -> str:
    """Describe the smallest candidate that does not fit and, if none does, what to change."""
    what = 'task file' if plan.limited == FILE else 'adapters'
    if plan.nearest is None:
        return 'All of these combinations fit; give larger ones with --widths.'
    nearest, size = plan.nearest, limited_bytes(plan.nearest, plan.limited)
    line = (
        f'Nearest that does not fit: width {nearest.width} at {nearest.bits} bits, head at '
        f'{nearest.head_bits}: {size:,} bytes of {what}, {size - plan.max_bytes:,} too many.'
    )
    if plan.fits or plan.limited == ADAPTERS:
        return line
    rest = nearest.file_bytes - nearest.adapter_bytes
    return f'{line} {rest:,} of them are neck and head: --of adapters plans the adapters alone.'


def _cells(candidate: Candidate, plan: Plan) -> list[str]:
    counts = (
        candidate.adapter_parameters,
        candidate.trainable_parameters,
        candidate.adapter_bytes,
        candidate.file_bytes,
    )
    sizes = (candidate.width, candidate.bits, candidate.head_bits)
    share = f'{limited_bytes(candidate, plan.limited) / plan.max_bytes:.0%}'
    return [*map(str, sizes), *(f'{count:,}' for count in counts), share]
