"""Tables as plain text, for logs."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def table_text(table: Table) -> str:
    """Return a table as lines of at most 100 characters, after an empty line."""
    page = io.StringIO()
    Console(width=100, file=page).print(table)
    return '\n' + page.getvalue()
