"""Task files with random weights, without a training."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_data import CLASSES

from mmqadapter import save_task
from mmqadapter.engine.runner import build_model, load_config


def write_tasks(config: str, folder: Path, *names: str) -> list[Path]:
    """Write a task file for each name, with random weights of its own."""
    model = build_model(load_config(config))
    files = [folder / f'{name}.task.safetensors' for name in names]
    for seed, file in enumerate(files):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter))
        save_task(model, file, dict(classes=CLASSES))
    return files
