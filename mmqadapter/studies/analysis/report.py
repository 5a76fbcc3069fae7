"""Files of a study: JSON for programs, Markdown for people, plots."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mmqadapter.inference.model import choose_device
from mmqadapter.studies.analysis.sources import Source
from mmqadapter.studies.report.drawing import FORMATS
from mmqadapter.studies.report.header import make_header as benchmark_header
from mmqadapter.studies.report.settings import Settings
from mmqadapter.studies.report.table import markdown_table
from mmqadapter.utils.atomic import atomic_write

ABOUT = ('command', 'date', 'machine', 'device', 'versions')
Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        name: Of its files.
        title: Of its page.
        header: What has to be known beside the numbers.
        rows: The numbers, for programs.
        lines: The table for people, texts by column.
        legend: What the columns mean.
        figures: Plots by name.
    """

    name: str
    title: str
    header: dict[str, Any]
    rows: Sequence[Row]
    lines: Sequence[Mapping[str, str]]
    legend: str
    figures: Mapping[str, Figure]


def make_header(sources: Sequence[Source], device: str | None = None, **more: Any) -> Row:
    """Header of a study.

    Args:
        sources: The models that are studied.
        device: Where; by default a GPU where there is one.
        more: Settings of the study.
    """
    about = benchmark_header(sources[0].cfg, Settings(device=choose_device(device)))
    return {
        'models': [_model(source) for source in sources],
        **{name: about[name] for name in ABOUT},
        **more,
    }


def write_study(study: Study, folder: Path) -> list[Path]:
    """Write NAME.json, NAME.md and the plots; returns their paths.

    Args:
        study: What to write; numbers that are not finite become null.
        folder: Where to; made where it is missing.
    """
    content = finite({'header': study.header, 'rows': list(study.rows)})
    files = {
        f'{study.name}.json': json.dumps(content, indent=1, allow_nan=False).encode(),
        f'{study.name}.md': _page(study).encode(),
        **{
            f'{study.name}_{name}.{kind}': _picture(figure, kind)
            for name, figure in study.figures.items()
            for kind in FORMATS
        },
    }
    for name, data in files.items():
        atomic_write(folder / name, data)
    return [folder / name for name in files]


def finite(value: Any) -> Any:
    """``value`` with None in the place of each NaN and infinity, which JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def number(value: Any) -> str:
    """Text of a number with four digits that count; '-' where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return '-'
    return f'{value:.4g}' if isinstance(value, float) else f'{value:,}'


def _model(source: Source) -> Row:
    return {
        'model': source.label,
        'config': Path(source.cfg.filename or '').name,
        'file': source.file,
        'backbone': source.cfg.model.backbone.get('type'),
        'quantizer': dict(source.cfg.model.backbone.get('quantizer') or {}) or None,
    }


def _page(study: Study) -> str:
    models = [f'- model: {_text(one)}' for one in study.header['models']]
    told = [f'- {name}: {_text(v)}' for name, v in study.header.items() if name != 'models']
    parts = [f'# {study.title}', markdown_table(study.lines), study.legend]
    return '\n\n'.join(part.strip() for part in [*parts, '\n'.join(models + told)]) + '\n'


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {one}' for name, one in value.items() if one is not None)
    return ', '.join(map(str, value)) if isinstance(value, list) else str(value)


def _picture(figure: Figure, kind: str) -> bytes:
    page = io.BytesIO()
    figure.savefig(page, format=kind, dpi=110)
    return page.getvalue()
