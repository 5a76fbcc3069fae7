"""Table, plots and pictures of a demo."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from mmqadapter.inference import predict
from mmqadapter.studies.demo.files import SPLIT_NUMBERS
from mmqadapter.studies.demo.scenes import draw
from mmqadapter.studies.demo.settings import COLOURS, DemoTask
from mmqadapter.utils.atomic import atomic_write

SHOWN = 4  # images in the picture of overlays
MIB = 2**20


def write_report(task: DemoTask, folder: Path, rows: list[dict]) -> None:
    """Print the table; write it as JSON and Markdown, with plots and overlays, into ``folder``."""
    cells = [_cells(task, row) for row in rows]
    table = Table(title='The second domain, three ways')
    for name in cells[0]:
        table.add_column(name, no_wrap=True)
    for row in cells:
        table.add_row(*row.values())
    Console(width=max(Console().width, 100)).print(table)  # numbers are never cut short
    lines = [list(cells[0]), ['---'] * len(cells[0]), *(list(row.values()) for row in cells)]
    text = ''.join('| ' + ' | '.join(line) + ' |\n' for line in lines)
    atomic_write(folder / 'report.md', text.encode())
    atomic_write(folder / 'report.json', json.dumps(rows, indent=1).encode())
    _draw_comparison(task, folder, rows)
    _draw_overlays(task, folder, rows)
    names = ('report.md', 'report.json', 'comparison.png', 'overlays.png')
    Console().print('Written: ' + ', '.join(str(folder / name) for name in names))


def _cells(task: DemoTask, row: dict) -> dict[str, str]:
    memory = row['saved_for_backward_bytes'] or row['peak_allocated_bytes']
    return {
        'method': row['title'],
        task.metric[1]: f'{_percent(row, task):.1f}',
        'trains': f'{row["trainable_params"]:,}',
        'bytes to keep': f'{row["task_bytes"]:,}',
        'of backbone': f'{_backbone_bytes(row):,}',
        'memory': f'{memory / MIB:.1f} MiB',
        's per step': f'{row["step_seconds"]:.3f}',
    }


def _percent(row: dict, task: DemoTask) -> float:
    value = row[task.metric[0]]
    return 100 * value if value <= 1 else value


def _backbone_bytes(row: dict) -> int:
    """Bytes that the backbone adds for this task: adapters, or all of its float32 weights."""
    if row['adapter_bytes'] is not None:
        return row['adapter_bytes']
    return 4 * row['trainable_backbone_params']


def _draw_comparison(task: DemoTask, folder: Path, rows: list[dict]) -> None:
    """Bars of score, bytes, memory and time, and the curves of the loss."""
    figure, axes = plt.subplots(1, 5, figsize=(16, 3.2), layout='constrained')
    memory = [(r['saved_for_backward_bytes'] or r['peak_allocated_bytes']) / MIB for r in rows]
    bars = {
        task.metric[1]: [_percent(row, task) for row in rows],
        'KiB of the backbone to keep': [_backbone_bytes(row) / 1024 for row in rows],
        'MiB kept for backward' if rows[0]['saved_for_backward_bytes'] else 'MiB peak': memory,
        'seconds per step': [row['step_seconds'] for row in rows],
    }
    titles, colours = [row['title'] for row in rows], [f'C{n}' for n in range(len(rows))]
    for axis, (name, values) in zip(axes, bars.items(), strict=False):
        drawn = axis.bar(titles, values, color=colours)
        labels = [f'{v:,.0f}' if v >= 100 else f'{v:.3g}' for v in values]
        axis.bar_label(drawn, labels, fontsize=8)
        axis.set_title(name, fontsize=10)
        axis.tick_params(axis='x', labelrotation=20, labelsize=8)
        axis.margins(y=0.12)
        if 'KiB' in name:
            axis.set_yscale('symlog', linthresh=1)  # the frozen trunk adds 0
            axis.set_ylim(top=10 * max(values))
    for row, colour in zip(rows, colours, strict=True):
        smooth = np.convolve(row['losses'], np.ones(10) / 10, 'valid')
        axes[-1].plot(smooth, color=colour, label=row['title'])
    axes[-1].set_title('training loss, mean of 10 steps', fontsize=10)
    axes[-1].legend(fontsize=8)
    figure.savefig(folder / 'comparison.png', dpi=110)
    plt.close(figure)


def _draw_overlays(task: DemoTask, folder: Path, rows: list[dict]) -> None:
    """Image, truth and each method's prediction of a few scenes, side by side."""
    files = sorted((folder / 'data' / 'target' / 'images' / 'val').iterdir())[:SHOWN]
    columns: list[list] = [
        [Image.open(file) for file in files],
        [_truth(task, n) for n in range(SHOWN)],
    ]
    columns += [_predictions(folder, row['method'], files) for row in rows]
    titles = ['image', 'truth', *(row['title'] for row in rows)]
    size = (2.2 * len(columns), 2.3 * SHOWN)
    figure, axes = plt.subplots(SHOWN, len(columns), figsize=size, layout='constrained')
    shown = (picture for column in columns for picture in column)
    for axis, picture in zip(axes.T.flat, shown, strict=True):
        axis.imshow(picture)
        axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    figure.savefig(folder / 'overlays.png', dpi=110)
    plt.close(figure)


def _predictions(folder: Path, method: str, files: list[Path]) -> list[np.ndarray]:
    """Colours of the classes that a method sees; of a detector, its overlays."""
    work_dir, out = folder / method, folder / 'predictions' / method
    weights = work_dir / 'last.task.safetensors'
    if not weights.is_file():
        weights = next(work_dir.glob('iter_*.pth'))
    with open(work_dir / 'console.log', 'a') as log, redirect_stdout(log), redirect_stderr(log):
        found = predict(work_dir / 'config.py', weights, files, out)
    pictures = sorted((out / 'overlays').iterdir())
    return [
        np.asarray(Image.open(picture)) if one.labels is None else _coloured(one.labels)
        for one, picture in zip(found, pictures, strict=True)
    ]


def _truth(task: DemoTask, index: int) -> np.ndarray:
    return _coloured(draw(task.target, (0, SPLIT_NUMBERS['val'], index)).labels)


def _coloured(labels: np.ndarray) -> np.ndarray:
    return np.array(COLOURS, dtype=np.uint8)[labels]
