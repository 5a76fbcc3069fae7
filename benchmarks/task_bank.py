"""Time of switching tasks and memory of a task in a TaskBank, compared with loading task files.

python benchmarks/task_bank.py --out benchmarks/results/task_bank

By default for UperNet on a ViT-B with 1-bit AdaptFormer. Weights are random, which influences
neither time nor bytes; two temporary task files are written. Times are medians in milliseconds.
With a highway, the forward of two tasks is measured too, with a switch and in one run of the trunk.
The float size of a task is that of its adapters at 32 bits, neck and head.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from report_files import header, print_table, write_report
from torch import nn

from mmqadapter import load_task, save_task
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference.bank import MultiTaskModel, TaskBank, runs_once
from mmqadapter.utils.tuned_backbone import tuned_backbone

CONFIG = 'configs/upernet_vit_qadapter_ade20k.py'
NAMES = ('first', 'second')


def random_model(config: str) -> nn.Module:
    """Build the model of a config with random weights, in eval mode."""
    cfg = load_config(config)
    for node in _dicts(cfg.model):
        node.update({key: None for key in ('init_cfg', 'checkpoint') if key in node})
        if node.get('pretrained'):
            node['pretrained'] = False
    cfg.load_from = None
    return revert_sync_batchnorm(build_model(Config(cfg.to_dict()))).eval()


def make_tasks(model: nn.Module, folder: Path) -> list[Path]:
    """Write two task files that differ in every trainable tensor."""
    paths = [folder / f'{name}.task.safetensors' for name in NAMES]
    for path in paths:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(1e-3 * torch.randn_like(parameter))
        save_task(model, path)
    return paths


def float_bytes(model: nn.Module) -> int:
    """Return the bytes of all tensors that a task changes, in the model's dtype."""
    backbone: Any = tuned_backbone(model)
    trunk = {
        id(t) for t in backbone.trunk.state_dict(keep_vars=True).values() if not t.requires_grad
    }
    state = {id(t): t for t in model.state_dict(keep_vars=True).values()}
    return sum(t.nbytes for key, t in state.items() if key not in trunk)


def measure(config: str, repeats: int) -> dict[str, Any]:
    """Return all measurements of one config."""
    model = random_model(config)
    size = float_bytes(model)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_tasks(model, Path(folder))
        files = [path.stat().st_size for path in paths]
        loads = timed(lambda call: load_task(model, paths[call % 2]), max(2, repeats // 20))
        bank = TaskBank(model)
        registers = timed(lambda call: bank.register(NAMES[call], paths[call]), 2)
    start = time.process_time()
    switches = timed(lambda call: bank.use(NAMES[call % 2]), repeats)
    cpu_seconds = time.process_time() - start
    together = times_of_two(bank, max(3, repeats // 20)) if runs_once(model) else {}
    return {
        'config': config,
        'switch_ms': statistics.median(switches),
        'slowest_switch_ms': max(switches),
        'switch_cpu_ms': 1e3 * cpu_seconds / repeats,  # unlike the time, not affected by other load
        'register_ms': statistics.median(registers),
        'load_task_ms': statistics.median(loads),
        'task_file_bytes': files[0],
        'task_float_bytes': size,
        'task_memory_bytes': bank.nbytes(NAMES[0]),
        'memory_over_float': bank.nbytes(NAMES[0]) / size,
        'model_bytes': sum(t.nbytes for t in model.state_dict().values()),
        **together,
    }


@torch.no_grad()
def times_of_two(bank: TaskBank, repeats: int) -> dict[str, float]:
    """Return the milliseconds of a forward of one task, of two with a switch, and in one run."""
    images = torch.randn(1, 3, 512, 512)
    both = MultiTaskModel(bank)

    def one(call: int) -> None:
        bank.use(NAMES[0])
        bank.model(images)

    def switched(call: int) -> None:
        for name in NAMES:
            bank.use(name)
            bank.model(images)

    calls = {'one': one, 'switched': switched, 'together': lambda call: both.forward(images)}
    measured: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):  # in rounds, so that changes of the machine's speed affect all alike
        for name, call in calls.items():
            measured[name] += timed(call, 1)
    return {f'forward_{name}_ms': statistics.median(times) for name, times in measured.items()}


def timed(call: Callable[[int], object], repeats: int) -> list[float]:
    """Return the milliseconds of each of ``repeats`` calls; the argument is the call's number."""
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        call(number)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def markdown(row: dict[str, Any]) -> str:
    """Return the measurements as a table in Markdown."""
    lines = {
        'switch to another task, median': f'{row["switch_ms"]:.2f} ms',
        'slowest switch': f'{row["slowest_switch_ms"]:.2f} ms',
        'CPU time of a switch, mean': f'{row["switch_cpu_ms"]:.2f} ms',
        'load_task of the same file': f'{row["load_task_ms"]:.0f} ms',
        'register, once per task': f'{row["register_ms"]:.0f} ms',
        'task file': f'{row["task_file_bytes"] / 1e6:.2f} MB',
        'task as floats': f'{row["task_float_bytes"] / 1e6:.2f} MB',
        'memory of a task in the bank': f'{row["task_memory_bytes"] / 1e6:.2f} MB',
        'memory over floats': f'{row["memory_over_float"]:.3f}',
        'whole model': f'{row["model_bytes"] / 1e6:.2f} MB',
    }
    if 'forward_one_ms' in row:
        single = row['forward_one_ms']
        lines['forward with one task, 512 x 512'] = f'{single:.0f} ms'
        lines['two tasks with a switch, ratio to one'] = (
            f'{row["forward_switched_ms"] / single:.2f}'
        )
        lines['two tasks in one run, ratio to one'] = f'{row["forward_together_ms"] / single:.2f}'
    rows = [f'| {name} | {value} |' for name, value in lines.items()]
    return '\n'.join([f'{row["config"]}\n', '| what | value |', '|---|---|', *rows]) + '\n'


def _dicts(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts(child)


def main() -> None:
    """Measure one config, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--repeats', type=int, default=200, help='number of timed switches')
    parser.add_argument('--out', type=Path, required=True, help='folder for report.json and .md')
    args = parser.parse_args()
    row = measure(args.config, args.repeats)
    head = header(__file__, repeats=args.repeats)
    write_report(args.out, head, [row], markdown(row))
    print_table(markdown(row))


if __name__ == '__main__':
    main()
