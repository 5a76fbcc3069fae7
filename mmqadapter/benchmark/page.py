"""The report as one page: no network, dark and light, readable on a phone, sortable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from mmqadapter.benchmark.rows import Row
from mmqadapter.benchmark.table import cell, columns

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.2em auto; max-width: 84em; padding: 0 1em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3em .7em; border-bottom: 1px solid #8886; text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { cursor: pointer; white-space: nowrap; }
figure { background: #fff; margin: 1em 0; border-radius: 6px; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1em; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
</style></head><body>
<h1>$title</h1>
<div class="wide"><table><thead><tr>$heads</tr></thead><tbody>
$body
</tbody></table></div>
<p>$legend</p>
$figures
<h2>How it was measured</h2>
<dl>$header</dl>
<script>
for (const [column, head] of document.querySelectorAll('thead th').entries()) {
  let up = 1;
  head.onclick = () => {
    const body = document.querySelector('tbody');
    const key = row => row.cells[column].dataset.value;
    const order = (a, b) => isNaN(key(a) - key(b)) ? key(a).localeCompare(key(b)) : key(a) - key(b);
    const rows = [...body.rows].sort((a, b) =>
      !key(a) - !key(b) || up * order(a, b));
    up = -up;
    body.append(...rows);
  };
}
</script></body></html>
""")


def make_page(
    header: Mapping[str, Any], rows: Sequence[Row], legend: str, pictures: Mapping[str, bytes]
) -> str:
    """The page.

    Args:
        header: Of the report.
        rows: Of the report.
        legend: What the columns mean.
        pictures: Content by file name; SVG go into the page, others do not.
    """
    drawn = [content.decode() for name, content in pictures.items() if name.endswith('.svg')]
    return PAGE.substitute(
        title=escape(f'Cost of tuning methods: {header["config"]}'),
        heads=''.join(f'<th>{escape(name)}</th>' for name in columns(rows)),
        body='\n'.join(_row(row, rows) for row in rows),
        legend=escape(legend),
        figures='\n'.join(f'<figure>{svg[svg.index("<svg") :]}</figure>' for svg in drawn),
        header=''.join(f'<dt>{escape(n)}</dt><dd>{escape(v)}</dd>' for n, v in facts(header)),
    )


def facts(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a header as text; what is None is left out."""
    return [(name, _text(value)) for name, value in header.items() if value is not None]


def _row(row: Row, rows: Sequence[Row]) -> str:
    values = [value(row) for value in columns(rows).values()]
    parts = (
        f'<td data-value="{"" if value is None else escape(str(value))}">{escape(cell(value))}</td>'
        for value in values
    )
    return f'<tr>{"".join(parts)}</tr>'


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {one}' for name, one in value.items() if one is not None)
    if isinstance(value, (list, tuple)):
        return ' x '.join(map(str, value))
    return str(value)
