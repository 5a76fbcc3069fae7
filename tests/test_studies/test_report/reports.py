"""Report of a benchmark with made-up values."""

from __future__ import annotations

from typing import Any

# Activation memory (MB) and time of a step (s) of each method.
COSTS = {
    'full': (1400, 4.4),
    'frozen': (400, 2.1),
    'partial1': (430, 2.3),
    'adaptformer': (900, 3.6),
    'mona': (None, None),
    'highway@1': (480, 2.9),
}
HEADER: dict[str, Any] = {
    'config': 'net_<b>.py',
    'command': 'python tools/benchmark.py net.py --methods full,frozen --out there',
    'versions': {'torch': '2.11.0', 'timm': None},
    'batch': 2,
    'memory': 'saved for backward',
    'max_batch_memory_bytes': None,
}


def make_row(method: str, megabytes: float | None, seconds: float | None) -> dict[str, Any]:
    failed = seconds is None
    parts = {'forward': 0.4, 'backward': 0.5, 'optimizer': 0.1, 'step': 1.0}
    return {
        'method': method,
        'bits': 1 if '@1' in method else None,
        'trainable_backbone_params': 1000,
        'trainable_params': 5000,
        'adapter_bytes': None if method == 'full' else 4000,
        'task_bytes': 400_000_000 if method == 'full' else 30_000_000,
        'full_model_bytes': 400_000_000,
        'saved_for_backward_bytes': None if megabytes is None else int(megabytes * 1e6),
        'peak_allocated_bytes': None,
        'peak_reserved_bytes': None,
        **{f'{part}_seconds': None if failed else seconds * f for part, f in parts.items()},
        **dict.fromkeys(('memory_saving', 'time_saving'), None if failed else 0.25),
        'backbone_cost_left_time': None,
        'backbone_cost_left_memory': None,
        'note': 'out of memory' if failed else None,
        'max_batch': None,
    }


def make_report() -> dict[str, Any]:
    """Report in which ``mona`` has no measurements."""
    return {'header': HEADER, 'rows': [make_row(name, *costs) for name, costs in COSTS.items()]}
