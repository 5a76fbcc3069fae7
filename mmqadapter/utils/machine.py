"""Name of the hardware and software that the numbers of a training depend on."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

CPU_INFO = Path('/proc/cpuinfo')
CPU_NUMBERS = ('cpu family', 'model', 'stepping')  # one model name can cover several processors


def machine_name(device: torch.device) -> str:
    """Return processor or GPU, kernels, PyTorch and threads, as one text.

    Trainings of one seed give equal results at most where these are equal: other kernels round
    differently.
    """
    if device.type == 'cuda':
        processor = torch.cuda.get_device_properties(device).name
    else:
        processor = f'{_cpu_name()}, {torch.backends.cpu.get_cpu_capability()}'
    return f'{processor}, torch {torch.__version__}, {torch.get_num_threads()} threads'


def _cpu_name() -> str:
    try:
        lines = CPU_INFO.read_text(encoding='utf-8', errors='replace')
    except OSError:  # not Linux
        lines = ''
    fields = dict(re.findall(r'^([^\n:\t]+?)[ \t]*:[ \t]*([^\n]*)$', lines, re.MULTILINE))
    name = fields.get('model name') or platform.processor() or platform.machine()
    numbers = [fields[key] for key in CPU_NUMBERS if key in fields]
    return f'{name} ({"-".join(numbers)})' if numbers else name
