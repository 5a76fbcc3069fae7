"""Table, plots and images of a demo."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table

from mmqadapter.inference import predict
from mmqadapter.studies.demo.files import SPLIT_NUMBERS
from mmqadapter.studies.demo.scenes import draw
from mmqadapter.studies.demo.settings import COLORS, DemoTask
from mmqadapter.studies.report.table import markdown_table
from mmqadapter.utils.atomic import atomic_write

OVERLAYS = 4  # images in overlays.png
MIB = 2**20


def write_report(task: DemoTask, folder: Path, rows: list[dict]) -> None:
    """Print the table; write it as JSON and Markdown, with plots and overlays, into ``folder``."""
    lines = [_table_line(task, row) for row in rows]
    table = Table(title='The second domain, four ways')
    for name in lines[0]:
        table.add_column(name, no_wrap=True)
    for line in lines:
        table.add_row(*line.values())
    Console(width=max(Console().width, 100)).print(table)  # numbers are never truncated
    atomic_write(folder / 'report.md', markdown_table(lines).encode())
    atomic_write(folder / 'report.json', json.dumps(rows, indent=1).encode())
    _draw_comparison(task, folder, rows)
    _draw_overlays(task, folder, rows)
    names = ('report.md', 'report.json', 'comparison.png', 'overlays.png')
    Console().print('Written: ' + ', '.join(str(folder / name) for name in names))


def _table_line(task: DemoTask, row: dict) -> dict[str, str]:
    return {
        'method': row['title'],
        task.metric[1]: f'{task.percent(row):.1f}',
        'trains': f'{row["trainable_params"]:,}',
        'task file, bytes': f'{row["task_bytes"]:,}',
        'activation memory'
        if row['saved_for_backward_bytes']
        else 'peak memory': f'{_memory(row) / MIB:.1f} MiB',
        's per step': f'{row["step_seconds"]:.3f}',
    }


def _draw_comparison(task: DemoTask, folder: Path, rows: list[dict]) -> None:
    """Draw bars of score, bytes, memory and time, and the loss curves."""
    figure = Figure(figsize=(16, 3.2), layout='constrained')
    axes = figure.subplots(1, 5)
    memory = [_memory(row) / MIB for row in rows]
    bars = {
        task.metric[1]: [task.percent(row) for row in rows],
        'KiB of the task file': [row['task_bytes'] / 1024 for row in rows],
        'MiB saved for backward' if rows[0]['saved_for_backward_bytes'] else 'MiB peak': memory,
        'seconds per step': [row['step_seconds'] for row in rows],
    }
    titles, colors = [row['title'] for row in rows], [f'C{n}' for n in range(len(rows))]
    for axis, (name, values) in zip(axes, bars.items(), strict=False):
        _draw_bars(axis, name, titles, values, colors)
    for row, color in zip(rows, colors, strict=True):
        smooth = np.convolve(row['losses'], np.ones(10) / 10, 'valid')
        axes[-1].plot(smooth, color=color, label=row['title'])
    axes[-1].set_title('training loss, mean of 10 steps', fontsize=10)
    axes[-1].legend(fontsize=8)
    figure.savefig(folder / 'comparison.png', dpi=110)


def _draw_bars(
    axis: Axes, name: str, titles: list[str], values: list[float], colors: list[str]
) -> None:
    bars = axis.bar(titles, values, color=colors)
    labels = [f'{v:,.0f}' if v >= 100 else f'{v:.3g}' for v in values]
    axis.bar_label(bars, labels, fontsize=8)
    axis.set_title(name, fontsize=10)
    axis.tick_params(axis='x', labelrotation=20, labelsize=8)
    axis.margins(y=0.12)


def _draw_overlays(task: DemoTask, folder: Path, rows: list[dict]) -> None:
    """Draw image, truth and the prediction of each method for a few scenes, side by side."""
    files = sorted((folder / 'data' / 'target' / 'images' / 'val').iterdir())[:OVERLAYS]
    columns: list[list] = [
        [Image.open(file) for file in files],
        [_truth(task, n) for n in range(OVERLAYS)],
    ]
    columns += [_predictions(folder, row['method'], files) for row in rows]
    titles = ['image', 'truth', *(_caption(task, row) for row in rows)]
    figure = Figure(figsize=(2.2 * len(columns), 2.2 * OVERLAYS + 0.5), layout='constrained')
    axes = figure.subplots(OVERLAYS, len(columns))
    images = (image for column in columns for image in column)
    for axis, image in zip(axes.T.flat, images, strict=True):
        axis.imshow(image)
        axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    figure.savefig(folder / 'overlays.png', dpi=110)


def _caption(task: DemoTask, row: dict) -> str:
    """Return the name of a method with its score, the size of its task file, and its memory."""
    size, memory = row['task_bytes'] / MIB, _memory(row) / MIB
    costs = f'file {size:.2g} MiB, memory {memory:.2g} MiB'
    return f'{row["title"]}\n{task.metric[1]} {task.percent(row):.1f}\n{costs}'


def _memory(row: dict) -> int:
    """Return the memory of a step in bytes: saved for backward, or the peak of a GPU."""
    return row['saved_for_backward_bytes'] or row['peak_allocated_bytes']


def _predictions(folder: Path, method: str, files: list[Path]) -> list[np.ndarray]:
    """Predict with the model of a method: colors of the classes or, for a detector, overlays."""
    work_dir, out = folder / method, folder / 'predictions' / method
    weights = work_dir / 'last.task.safetensors'
    if not weights.is_file():
        weights = next(work_dir.glob('iter_*.pth'))
    with open(work_dir / 'console.log', 'a') as log, redirect_stdout(log), redirect_stderr(log):
        predictions = predict(work_dir / 'config.py', weights, files, out)
    overlays = sorted((out / 'overlays').iterdir())
    return [
        np.asarray(Image.open(overlay))
        if prediction.labels is None
        else _colored(prediction.labels)
        for prediction, overlay in zip(predictions, overlays, strict=True)
    ]


def _truth(task: DemoTask, index: int) -> np.ndarray:
    return _colored(draw(task.target, (0, SPLIT_NUMBERS['val'], index)).labels)


def _colored(labels: np.ndarray) -> np.ndarray:
    return np.array(COLORS, dtype=np.uint8)[labels]
