from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import ROOT, Run, semantic

__all__ = ['semantic']


@pytest.fixture
def launch(tmp_path: Path):
    """``launch(script, *args, **variables)``: the command line that a script ends in."""
    echo = tmp_path / 'echo'
    echo.write_text('#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\n')
    echo.chmod(0o755)
    (tmp_path / 'srun').symlink_to(echo)

    def call(script: str, *args: str, **variables: str) -> subprocess.CompletedProcess:
        own = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYTHON': str(echo)}
        return subprocess.run(
            [ROOT / 'tools' / script, *args],
            env={**own, **variables},
            capture_output=True,
            text=True,
        )

    return call


def test_one_machine_finds_a_free_port(launch) -> None:
    words = launch('dist_train.sh', 'c.py', '4', '--amp').stdout.split()
    assert words[:4] == [
        'echo',
        f'{ROOT}/tools/dist_launch.py',
        '--standalone',
        '--nproc_per_node=4',
    ]
    assert words[4:] == [f'{ROOT}/tools/train.py', 'c.py', '--amp', '--launcher', 'pytorch']


def test_several_machines_meet_where_they_are_told(launch) -> None:
    variables = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='host', PORT='1234')
    words = launch('dist_test.sh', 'c.py', 't.task.safetensors', '8', **variables).stdout.split()
    for option in ('--nnodes=2', '--node_rank=1', '--master_addr=host', '--master_port=1234'):
        assert option in words
    assert words[-5:] == [
        f'{ROOT}/tools/test.py',
        'c.py',
        't.task.safetensors',
        '--launcher',
        'pytorch',
    ]


def test_slurm_asks_for_what_the_variables_say(launch) -> None:
    variables = dict(GPUS='16', CPUS_PER_TASK='3', SRUN_ARGS='--qos=x --time=1')
    words = launch('slurm_train.sh', 'part', 'job', 'c.py', '--resume', **variables).stdout.split()
    assert words[0] == 'srun'
    for option in ('--partition=part', '--job-name=job', '--gres=gpu:8', '--ntasks=16', '--qos=x',
                   '--ntasks-per-node=8', '--cpus-per-task=3', '--time=1'):  # fmt: skip
        assert option in words
    assert words[-5:] == [f'{ROOT}/tools/train.py', 'c.py', '--resume', '--launcher', 'slurm']


def test_few_gpus_of_slurm_are_on_one_node(launch) -> None:
    words = launch('slurm_test.sh', 'p', 'j', 'c.py', 'x.pth', GPUS='2').stdout.split()
    assert {'--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2'} < set(words)
    assert f'{ROOT}/tools/test.py' in words


@pytest.mark.parametrize(
    'script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']
)
def test_too_few_arguments_give_the_usage(launch, script: str) -> None:
    done = launch(script, 'one')
    assert done.returncode == 2 and 'usage' in done.stderr and 'CONFIG' in done.stderr


@pytest.mark.slow
def test_two_processes_test_as_one(semantic: Run, tmp_path: Path) -> None:
    # Synchronized batch norm needs GPUs; in eval mode it is the plain one.
    options = ['--work-dir', tmp_path, '--cfg-options', 'model.decode_head.norm_cfg.type=BN']
    subprocess.run(
        [ROOT / 'tools/dist_test.sh', semantic.config, semantic.task, '2', *options],
        env={**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': ''},
        check=True,
        capture_output=True,
    )
    (log,) = tmp_path.glob('*/*.json')
    # Both ranks append their metrics to mmengine's file; the first object is enough.
    metrics, _ = json.JSONDecoder().raw_decode(log.read_text())
    assert metrics['mIoU'] == semantic.last_score('mIoU')
