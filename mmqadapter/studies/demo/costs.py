"""Cost of a training step of each method of the demo."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.benchmark.run import run_benchmark
from mmqadapter.studies.demo.settings import METHODS
from mmqadapter.studies.report.settings import Settings

STEPS, WARM_UP = 8, 2
COSTS = ('step_seconds', 'saved_for_backward_bytes', 'peak_allocated_bytes')


def measure_costs(cfg: Config) -> dict[str, dict[str, Any]]:
    """Return seconds and memory of a step, by method.

    One process measures the methods in turns, so that other work on the machine slows all alike.

    Args:
        cfg: Config with the plain backbone.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    settings = Settings(device, steps=STEPS, warm_up=WARM_UP, real_data=True)
    names = {method.method: name for name, method in METHODS.items()}
    methods = parse_methods(','.join(names))
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    rows = run_benchmark(cfg, methods, settings, observe=lambda _: None)['rows']
    return {names[row['method']]: {key: row[key] for key in COSTS} for row in rows}
