"""Files of a study: JSON for programs, Markdown for readers, plots."""

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

SHARED_KEYS = ('command', 'date', 'machine', 'device', 'versions')
Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """Results of a study.

    Attributes:
        name: Start of its file names.
        title: Title of its page.
        header: Models, settings, seeds, versions.
        rows: Numbers, for programs.
        lines: Lines of the table for readers, each with its texts by column.
        legend: Explanation of the columns.
        figures: Plots by name.
    """

    name: str
    title: str
    header: dict[str, Any]
    rows: Sequence[Row]
    lines: Sequence[Mapping[str, str]]
    legend: str
    figures: Mapping[str, Figure]


def make_header(sources: Sequence[Source], device: str | None = None, **settings: Any) -> Row:
    """Return the header of a study.

    Args:
        sources: The models that are studied.
        device: Device of the models; by default a GPU if there is one.
        settings: Settings of the study.
    """
    shared = benchmark_header(sources[0].cfg, Settings(device=choose_device(device)))
    return {
        'models': [_model(source) for source in sources],
        **{name: shared[name] for name in SHARED_KEYS},
        **settings,
    }


def write_study(study: Study, folder: Path) -> list[Path]:
    """Write NAME.json, NAME.md and the plots, and return their paths.

    Args:
        study: Results to write; in JSON, numbers that are not finite become null.
        folder: Folder of the files, which is created if it is missing.
    """
    content = finite({'header': study.header, 'rows': list(study.rows)})
    files = {
        f'{study.name}.json': json.dumps(content, indent=1, allow_nan=False).encode(),
        f'{study.name}.md': _page(study).encode(),
        **{
            f'{study.name}_{name}.{kind}': _image(figure, kind)
            for name, figure in study.figures.items()
            for kind in FORMATS
        },
    }
    for name, data in files.items():
        atomic_write(folder / name, data)
    return [folder / name for name in files]


def finite(value: Any) -> Any:
    """Return ``value`` with None for each NaN and infinity, which JSON does not support."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def number(value: Any) -> str:
    """Return a number as text, a float with four significant digits; '-' if there is none."""
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
    models = [f'- model: {_text(model)}' for model in study.header['models']]
    settings = [f'- {name}: {_text(v)}' for name, v in study.header.items() if name != 'models']
    parts = [f'# {study.title}', markdown_table(study.lines), study.legend]
    return '\n\n'.join(part.strip() for part in [*parts, '\n'.join(models + settings)]) + '\n'


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ', '.join(f'{name} {item}' for name, item in value.items() if item is not None)
    return ', '.join(map(str, value)) if isinstance(value, list) else str(value)


def _image(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110)
    return buffer.getvalue()
