"""HTML page of a report: one self-contained file with a sortable table, dark and light."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmqadapter.studies.report.drawing import INK, PAPER, Series
from mmqadapter.studies.report.table import TableRows


@dataclass(frozen=True)
class Samples:
    """Predictions of the methods side by side.

    Attributes:
        headings: Column headings.
        rows: Name of an image and its pictures as WebP, one for each column; None if missing.
        classes: Names and colors, as ``'#rrggbb'``, of the classes.
    """

    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[bytes | None]]]
    classes: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """Content of a report's page.

    Attributes:
        title: Title of the page.
        details: Settings and environment as text, by name.
        command: Command that made the report.
        table: Rows of the table; the first column has the methods.
        legend: Meaning of the columns.
        series: Look of each method in the plots.
        plots: SVG files by title.
        samples: Predictions; None to leave them out.
        notes: Lists of lines, such as failures, by heading.
    """

    title: str
    details: Mapping[str, str]
    command: str
    table: TableRows
    legend: str
    series: Mapping[str, Series]
    plots: Mapping[str, bytes]
    samples: Samples | None = None
    notes: Mapping[str, Sequence[str]] | None = None


def render_page(page: Page) -> str:
    """Return the page as HTML that refers to no other file."""
    environment = Environment(
        loader=PackageLoader('mmqadapter.studies.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(svg=_inline_svg, webp=_data_url)
    return environment.get_template('page.html').render(page=page)


def svg_by_title(titles: Mapping[str, str], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the SVG of each plot that was drawn, by its title.

    Args:
        titles: Titles of the plots, by file name without suffix.
        files: Content of the files, by file name.
    """
    drawn = {title: files.get(f'{name}.svg') for name, title in titles.items()}
    return {title: content for title, content in drawn.items() if content is not None}


def header_texts(header: Mapping[str, Any], exclude: Sequence[str] = ()) -> dict[str, str]:
    """Return the values of a header as text, without those that are None, empty or excluded."""
    texts = {name: _text(value) for name, value in header.items() if name not in exclude}
    return {name.replace('_', ' '): text for name, text in texts.items() if text}


def _text(value: Any) -> str:
    if value is None:
        return ''
    if isinstance(value, Mapping):
        return '; '.join(
            f'{name} {_text(item)}' for name, item in value.items() if item is not None
        )
    return ', '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _inline_svg(file: bytes) -> str:
    """Return the ``<svg>`` element of a file, in the colors of the page."""
    text = file.decode()
    text = text[text.index('<svg') :].replace(INK, 'currentColor').replace(PAPER, 'none')
    # Ids have to be unique in a page, but a method is in several plots: ids become classes.
    return re.sub('<g id="[^"]*"', '<g', re.sub('<g id="(series-[^"]*)"', r'<g class="\1"', text))


def _data_url(picture: bytes) -> str:
    return 'data:image/webp;base64,' + base64.b64encode(picture).decode()
