"""A report as one page: no network, dark and light, readable on a phone, sortable."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmqadapter.studies.report.drawing import INK, PAPER, Series
from mmqadapter.studies.report.table import Lines


@dataclass(frozen=True)
class Samples:
    """Predictions of the methods side by side.

    Attributes:
        heads: Words above the columns.
        rows: Name of an image, and its pictures as WebP, one a column; None where there is none.
        classes: Their names and colours as ``'#rrggbb'``.
    """

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[bytes | None]]]
    classes: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """What a report's page shows.

    Attributes:
        title: Above everything.
        facts: Names and values: settings and environment.
        command: What made the report.
        table: Its first column has the methods.
        legend: What the columns mean.
        series: How each method looks in the plots.
        plots: An SVG by the words above it.
        samples: Predictions; None where there are none.
        notes: Lines under a heading of their own, such as failures.
    """

    title: str
    facts: Mapping[str, str]
    command: str
    table: Lines
    legend: str
    series: Mapping[str, Series]
    plots: Mapping[str, bytes]
    samples: Samples | None = None
    notes: Mapping[str, Sequence[str]] | None = None


def render_page(page: Page) -> str:
    """The page as HTML that needs no other file."""
    environment = Environment(
        loader=PackageLoader('mmqadapter.studies.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(svg=_inline_svg, webp=_data_address)
    return environment.get_template('page.html').render(page=page)


def chosen_plots(titles: Mapping[str, str], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The SVG of each plot that was drawn, by its title.

    Args:
        titles: Of the plots, by file name without suffix.
        files: Content by file name.
    """
    drawn = {title: files.get(f'{name}.svg') for name, title in titles.items()}
    return {title: content for title, content in drawn.items() if content is not None}


def facts(header: Mapping[str, Any], left_out: Sequence[str] = ()) -> dict[str, str]:
    """Values of a header as text; what is None, empty or ``left_out`` is missing."""
    told = {name: _text(value) for name, value in header.items() if name not in left_out}
    return {name.replace('_', ' '): text for name, text in told.items() if text}


def _text(value: Any) -> str:
    if value is None:
        return ''
    if isinstance(value, Mapping):
        return '; '.join(f'{name} {_text(one)}' for name, one in value.items() if one is not None)
    return ', '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _inline_svg(file: bytes) -> str:
    """A file's drawing in the page's own colours."""
    text = file.decode()
    text = text[text.index('<svg') :].replace(INK, 'currentColor').replace(PAPER, 'none')
    # An id may stand once in a page, and methods are drawn in several plots.
    return re.sub('<g id="[^"]*"', '<g', re.sub('<g id="(series-[^"]*)"', r'<g class="\1"', text))


def _data_address(picture: bytes) -> str:
    return 'data:image/webp;base64,' + base64.b64encode(picture).decode()
