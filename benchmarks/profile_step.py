"""Profile of a training step of a backbone, by module and by operator.

python benchmarks/profile_step.py --out benchmarks/results/profile
python benchmarks/profile_step.py --net swin-l --methods full 'joined cell, half' --out DIR

Random weights, and a gradient of ones for every map. DIR/METHOD.json.gz is a trace for Perfetto or
chrome://tracing; report.md has the time of each part of the step, without the parts inside it, and
the slowest operators. A GPU is synchronized at the end of each part. Backward runs in another
thread, where profiler ranges of modules have no effect, and is therefore one part. (The script is
not called profile.py because that is a module of Python.)
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from backbone_cost import METHODS, NETS
from mmengine.registry import MODELS
from report_files import header, print_table, write_report
from rich.progress import track
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from mmqadapter.highway import Cell

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# Parts by a regex for module names; a nested part is not counted in the outer one.
PARTS = {
    'patch embedding': r'patch_embed',
    'attention': r'blocks\.\d+\.attn',
    'MLP': r'blocks\.\d+\.(ffn|mlp)',
    'merging': r'stages\.\d+\.downsample',
    'highway: cells with adapters': r'adapters\.highway\.stages\.\d+\.\d+',
    'highway: merging': r'adapters\.highway\.mergings?\.\d+',
    'highway: norms': r'adapters\.highway\.norms\.\d+',
    'in-path adapters': r'adapters\.(?!highway)\w+\.\w+',
}


class Ranges:
    """Hooks that open and close a profiler range around every module of a part."""

    def __init__(self, model: nn.Module) -> None:
        self._open: list[Any] = []
        for name, module in model.named_modules():
            part = next((p for p, regex in PARTS.items() if re.search(f'{regex}$', name)), None)
            if part is not None:
                module.register_forward_pre_hook(self._opener(part))
                module.register_forward_hook(self._close)
            if isinstance(module, Cell):
                # Batched parallel cells are not called, only their updates are computed.
                module.update = ranged(str(part), module.update)

    def _opener(self, part: str) -> Any:
        def start(module: nn.Module, args: tuple) -> None:
            finish()
            open_range = record_function(f'part: {part}')
            open_range.__enter__()
            self._open.append(open_range)

        return start

    def _close(self, module: nn.Module, args: tuple, output: Any) -> None:
        finish()
        self._open.pop().__exit__(None, None, None)


@contextmanager
def profiled(name: str) -> Iterator[None]:
    """Open a profiler range for a part of the step."""
    finish()
    with record_function(f'part: {name}'):
        yield
        finish()


def ranged(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``call`` with a profiler range around it."""

    def within(*args: Any) -> Any:
        with profiled(name):
            return call(*args)

    return within


def finish() -> None:
    """Wait for a GPU."""
    if DEVICE == 'cuda':
        torch.cuda.synchronize()


def step(model: nn.Module, optimizer: torch.optim.Optimizer | None, images: Tensor) -> None:
    """Run forward, backward and optimizer; only forward if nothing is trained."""
    with profiled('forward, the rest'), torch.set_grad_enabled(optimizer is not None):
        maps = model(images)
    if optimizer is None:
        return
    trained = [map_ for map_ in maps if map_.requires_grad]
    with profiled('backward'):
        torch.autograd.backward(trained, [torch.ones_like(map_) for map_ in trained])
    with profiled('optimizer'):
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def measure(net: str, method: str, args: argparse.Namespace) -> dict[str, Any]:
    """Profile a method, write its trace, and return its times by part and by operator."""
    torch.manual_seed(0)
    model = MODELS.build(METHODS[method](dict(NETS[net]))).to(DEVICE)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0) if trained else None
    images = torch.randn(args.batch, 3, args.size, args.size, device=DEVICE)
    for _ in range(args.warm_up):
        step(model, optimizer, images)
    Ranges(model)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] * (DEVICE == 'cuda'))]
    with profile(activities=activities, profile_memory=True) as profiler:
        for _ in range(args.steps):
            step(model, optimizer, images)
    name = re.sub(r'\W+', '-', f'{net}-{method}')
    profiler.export_chrome_trace(str(args.out / f'{name}.json.gz'))
    return {'net': net, 'method': method, **summary(profiler, args.steps)}


def summary(profiler: Any, steps: int) -> dict[str, Any]:
    """Return the milliseconds per step of all parts and of the slowest operators."""
    events = profiler.events()
    parts: dict[str, float] = {}
    for event in events:
        if event.name.startswith('part: ') and event.device_type == torch.autograd.DeviceType.CPU:
            inside = sum(inner.cpu_time_total for inner in inner_parts(event))
            name = event.name.removeprefix('part: ')
            parts[name] = parts.get(name, 0.0) + (event.cpu_time_total - inside) / steps / 1e3
    # Only events of the CPU: an operator includes the time of the kernels that it launched.
    averages = [
        e
        for e in profiler.key_averages()
        if not e.key.startswith('part: ') and e.device_type == torch.autograd.DeviceType.CPU
    ]
    key = 'self_device_time_total' if DEVICE == 'cuda' else 'self_cpu_time_total'
    averages.sort(key=lambda e: getattr(e, key), reverse=True)
    operators = {e.key: getattr(e, key) / steps / 1e3 for e in averages[:12]}
    return {'parts_ms': parts, 'operators_ms': operators}


def inner_parts(event: Any) -> Iterator[Any]:
    """Yield the outermost parts inside a part."""
    for child in event.cpu_children:
        if child.name.startswith('part: '):
            yield child
        else:
            yield from inner_parts(child)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return two tables per method in Markdown."""
    text = []
    for row in rows:
        total = sum(row['parts_ms'].values())
        text.append(
            f'## {row["net"]}, {row["method"]}: {total:.0f} ms per step under the profiler\n'
        )
        for title, key in (('part', 'parts_ms'), ('operator, itself', 'operators_ms')):
            text.append(f'| {title} | ms | share |\n|---|---|---|')
            by_size = sorted(row[key].items(), key=lambda item: -item[1])
            lines = [f'| {n} | {ms:.1f} | {100 * ms / total:.0f} % |' for n, ms in by_size]
            text.append('\n'.join(lines) + '\n')
    return '\n'.join(text)


def main() -> None:
    """Profile all methods, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--net', choices=NETS, default='swin-b')
    methods = ['full', 'frozen', 'adaptformer-64', 'highway, half', 'joined cell, half']
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=methods)
    parser.add_argument('--size', type=int, default=512, help='pixels, both sides')
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--steps', type=int, default=3)
    parser.add_argument('--warm-up', type=int, default=2)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    rows = [measure(args.net, method, args) for method in track(args.methods)]
    head = header(__file__, DEVICE, size=args.size, batch=args.batch)
    write_report(args.out, head, rows, markdown(rows))
    print_table(markdown(rows))


if __name__ == '__main__':
    main()
