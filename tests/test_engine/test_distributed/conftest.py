"""Several processes on this machine, started by the shell scripts that users start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import ROOT, Run, fresh_globals, instances, semantic

__all__ = ['fresh_globals', 'instances', 'semantic']

LIMIT = 300  # seconds; the runs here take about 10 on an idle machine

# Group norm instead of SyncBN, and no dropout, which would differ between the ways to train.
UPERNET = """
model = dict(
    backbone=dict(adapter=dict(dropout=0.0)),
    decode_head=dict(
        _delete_=True, type='UPerHead', in_channels=[8, 16], in_index=[0, 1], pool_scales=(1, 2),
        channels=8, num_classes=3, dropout_ratio=0.0, align_corners=False,
        norm_cfg=dict(type='GN', num_groups=4), loss_decode=dict(type='CrossEntropyLoss')),
)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
custom_hooks = [*_base_.custom_hooks, dict(type='StateProbe'), dict(type='LossProbe')]
"""

HIGHWAY = """
model = dict(
    backbone=dict(
        _delete_=True, type='mmqadapter.HighwayBackbone', backbone=_base_.model.backbone.backbone,
        adapter=dict(type='ConvAdapter', width=4), taps='stream', cell='JoinedCell',
        stem=dict(type='ConvStem', width=4), saved_taps='half', inpath_blocks=1,
        quantizer=dict(type='GaussianQuantizer', bits=1)),
)
"""

MASK_RCNN = """
custom_hooks = [*_base_.custom_hooks, dict(type='GradientProbe'), dict(type='StateProbe')]
"""

KILLED = """
_base_ = {base!r}
custom_hooks = [*_base_.custom_hooks, dict(type='LastStep', rank=1, step=3)]
"""

SHARED = """
_base_ = {base!r}
custom_imports = dict(imports=['mmqadapter', 'probes'])
train_dataloader = dict(batch_size=1)
env_cfg = dict(dist_cfg=dict(timeout=240))
"""


@pytest.fixture(scope='session')
def upernet(semantic: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Config of a UperNet on a tiny 1-bit Swin, one image per process and step."""
    return _derived(tmp_path_factory.mktemp('upernet'), semantic, UPERNET)


@pytest.fixture(scope='session')
def upernet_highway(upernet: str) -> str:
    """Config of the UperNet with a 1-bit highway and the last block in path."""
    path = Path(upernet).with_name('two_ranks_highway.py')
    path.write_text(f'_base_ = {upernet!r}' + HIGHWAY)
    return str(path)


@pytest.fixture(scope='session')
def mask_rcnn(instances: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Config of a Mask R-CNN on a tiny 1-bit Swin, one image per process and step."""
    return _derived(tmp_path_factory.mktemp('mask_rcnn'), instances, MASK_RCNN)


def _derived(folder: Path, run: Run, delta: str) -> str:
    path = folder / 'two_ranks.py'
    path.write_text(SHARED.format(base=run.config) + delta)
    return str(path)


@pytest.fixture(scope='session')
def killed(upernet: str) -> str:
    """Config of the UperNet, whose second process is killed in the fourth step."""
    path = Path(upernet).with_name('killed.py')
    path.write_text(KILLED.format(base=upernet))
    return str(path)


@pytest.fixture(scope='session')
def two_ranks(upernet: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work dir of four steps of the UperNet on two processes."""
    work_dir = tmp_path_factory.mktemp('two_ranks')
    _launch('dist_train.sh', upernet, '2', '--work-dir', str(work_dir))
    return work_dir


@pytest.fixture(scope='session')
def launch() -> Callable[..., str]:
    """``launch(SCRIPT, CONFIG, "2", ...)``: run it beside its config, return its output."""
    return _launch


def _launch(name: str, *arguments: str) -> str:
    code, output = _run(name, *arguments)
    assert code == 0, output[-5000:]
    return output


@pytest.fixture(scope='session')
def launch_to_fail() -> Callable[..., str]:
    """``launch`` for a run that ends with an error."""
    return _launch_to_fail


def _launch_to_fail(name: str, *arguments: str) -> str:
    code, output = _run(name, *arguments)
    assert code != 0, output[-5000:]
    return output


def _run(name: str, *arguments: str) -> tuple[int, str]:
    """Return exit status and output of a tool."""
    process = _start(name, *arguments)
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except BaseException:
        _stop(process)
        raise
    return process.returncode, output


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """``launch`` without waiting; a prefix runs it on another host."""
    with ExitStack() as after:

        def begin(*words: str, **place: Any) -> subprocess.Popen:
            process = _start(*words, **place)
            after.callback(_stop, process)
            return process

        yield begin


def _start(
    name: str,
    *arguments: str,
    prefix: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    shell = 'bash' if name.endswith('.sh') else sys.executable
    return subprocess.Popen(
        [*prefix, shell, str(ROOT / 'tools' / name), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**_environment(), **(variables or {})},
        cwd=Path(arguments[0]).parent,  # ranks pass results to each other through files there
    )  # fmt: skip


def _environment() -> dict[str, str]:
    """Return an environment without a GPU, with one thread, in which probes can be imported."""
    path = [str(Path(__file__).parent), str(ROOT), os.environ.get('PYTHONPATH', '')]
    return dict(
        os.environ,
        PYTHON=sys.executable,
        PYTHONPATH=os.pathsep.join(path),
        CUDA_VISIBLE_DEVICES='',
        OMP_NUM_THREADS='1',
    )


def _stop(process: subprocess.Popen) -> None:
    """End torchrun with the signal on which it ends its workers first."""
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
