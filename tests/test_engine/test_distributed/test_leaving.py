"""A process that trained over gloo ends cleanly, although its model is in a reference cycle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from old_torch import needs_torch

THREADS = Path('/proc/self/task')
RUN = """
import atexit
import pathlib

def show():
    print(*(path.read_text().strip() for path in pathlib.Path('/proc/self/task').glob('*/comm')))

atexit.register(show)  # registered first, so it runs last

import torch
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel
from mmqadapter.engine.distributed import prepare_cpu

prepare_cpu(Config(dict(launcher='pytorch', model=dict(type='Net'))))

class Runner:
    pass

def main():
    runner = Runner()
    runner.model = DistributedDataParallel(torch.nn.Linear(2, 2))
    runner.model.runner = [runner]
    show()

main()
"""


@needs_torch(2, 4, 'naming the threads of gloo')
@pytest.mark.skipif(not THREADS.is_dir(), reason='the threads of a process are read from /proc')
def test_no_thread_of_gloo_outlives_the_run(tmp_path):
    rendezvous = dict(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    run = subprocess.run(
        [sys.executable, '-c', RUN], capture_output=True, text=True, check=False, timeout=120,
        cwd=tmp_path, env=dict(os.environ, CUDA_VISIBLE_DEVICES='', **rendezvous),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    during, after = run.stdout.splitlines()[-2:]
    assert 'gloo' in during, 'the probe no longer sees the threads of gloo'
    assert 'gloo' not in after
