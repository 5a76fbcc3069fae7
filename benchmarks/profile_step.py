"""Where the time and memory of one training step of a backbone go, by module and by operator.

python benchmarks/profile_step.py --out benchmarks/results/profile
python benchmarks/profile_step.py --net swin-l --methods full 'joined cell, half' --out DIR

Random weights, a gradient of ones into every map. DIR/METHOD.json.gz is a trace for Perfetto or
chrome://tracing; report.md tells the share of parts of the step (exclusive of what they contain)
and the operators that take most. A GPU finishes its work at the ends of parts: backward runs in a
thread of its own, where no range of the profiler reaches. (Not called profile.py: Python's own
module has that name.)
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import torch
from backbone_cost import METHODS, NETS
from mmengine.registry import MODELS
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from mmqadapter.highway import Cell

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# Parts by a regex over module names; what is inside another part counts there.
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
    """Hooks that open and close a range of the profiler around every module of a part."""

    def __init__(self, model: nn.Module) -> None:
        self._open: list[Any] = []
        for name, module in model.named_modules():
            found = next((p for p, regex in PARTS.items() if re.search(f'{regex}$', name)), None)
            if found is not None:
                module.register_forward_pre_hook(self._opener(found))
                module.register_forward_hook(self._close)
            if isinstance(module, Cell):
                # Not called where changes are added together.
                module.change = ranged(str(found), module.change)

    def _opener(self, part: str) -> Any:
        def start(module: nn.Module, args: tuple) -> None:
            finish()
            entered = record_function(f'part: {part}')
            entered.__enter__()
            self._open.append(entered)

        return start

    def _close(self, module: nn.Module, args: tuple, output: Any) -> None:
        finish()
        self._open.pop().__exit__(None, None, None)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Open a range of the profiler around a part of the step."""
    finish()
    with record_function(f'part: {name}'):
        yield
        finish()


def ranged(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a call in a range of the profiler."""

    def within(*args: Any) -> Any:
        with part(name):
            return call(*args)

    return within


def finish() -> None:
    """Wait for a GPU."""
    if DEVICE == 'cuda':
        torch.cuda.synchronize()


def step(model: nn.Module, optimizer: torch.optim.Optimizer | None, images: Tensor) -> None:
    """Forward, backward, optimiser; of a net that trains nothing the forward alone."""
    with part('forward, the rest'), torch.set_grad_enabled(optimizer is not None):
        maps = model(images)
    if optimizer is None:
        return
    reached = [one for one in maps if one.requires_grad]
    with part('backward'):
        torch.autograd.backward(reached, [torch.ones_like(one) for one in reached])
    with part('optimiser'):
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def measure(net: str, method: str, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step by part and by operator; writes the trace."""
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
    """Milliseconds a step of all parts and of the operators that take most."""
    events = profiler.events()
    own: dict[str, float] = {}
    for event in events:
        if event.name.startswith('part: ') and event.device_type == torch.autograd.DeviceType.CPU:
            inside = sum(inner.cpu_time_total for inner in inner_parts(event))
            name = event.name.removeprefix('part: ')
            own[name] = own.get(name, 0.0) + (event.cpu_time_total - inside) / steps / 1e3
    # Of the CPU: what a kernel took is with the operator that started it.
    averages = [
        e
        for e in profiler.key_averages()
        if not e.key.startswith('part: ') and e.device_type == torch.autograd.DeviceType.CPU
    ]
    key = 'self_device_time_total' if DEVICE == 'cuda' else 'self_cpu_time_total'
    averages.sort(key=lambda e: getattr(e, key), reverse=True)
    operators = {e.key: getattr(e, key) / steps / 1e3 for e in averages[:12]}
    return {'parts_ms': own, 'operators_ms': operators}


def inner_parts(event: Any) -> Iterator[Any]:
    """Return the outermost ranges of parts within another."""
    for child in event.cpu_children:
        if child.name.startswith('part: '):
            yield child
        else:
            yield from inner_parts(child)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Two tables for each method."""
    text = []
    for row in rows:
        total = sum(row['parts_ms'].values())
        text.append(f'## {row["net"]}, {row["method"]}: {total:.0f} ms a step under the profiler\n')
        for title, key in (('part', 'parts_ms'), ('operator, itself', 'operators_ms')):
            text.append(f'| {title} | ms | share |\n|---|---|---|')
            by_size = sorted(row[key].items(), key=lambda item: -item[1])
            lines = [f'| {n} | {ms:.1f} | {100 * ms / total:.0f} % |' for n, ms in by_size]
            text.append('\n'.join(lines) + '\n')
    return '\n'.join(text)


def main() -> None:
    """Profile, print, write."""
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
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [measure(args.net, method, args) for method in track(args.methods)]
    header = {
        'script': 'benchmarks/profile_step.py',
        'date': date.today().isoformat(),
        'device': torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU',
        'torch': torch.__version__,
        'size': args.size,
        'batch': args.batch,
    }
    (args.out / 'report.json').write_text(json.dumps({'header': header, 'rows': rows}, indent=1))
    (args.out / 'report.md').write_text(markdown(rows))
    Console().print(markdown(rows), markup=False, soft_wrap=True)


if __name__ == '__main__':
    main()
