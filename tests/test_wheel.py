"""The wheel, installed in an environment of its own: command, shipped configs, own configs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml',
    'mmqadapter', 'configs', 'tools',
)  # fmt: skip
ROUND_TRIP = """
import torch
from mmqadapter import load_task, save_task
from mmqadapter.engine.runner import build_model, load_config

cfg = load_config('own.py')
torch.manual_seed(0)
trained = build_model(cfg).eval()
torch.manual_seed(0)
fresh = build_model(cfg).eval()
image = torch.rand(1, 3, 64, 64)
with torch.no_grad():
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter += 0.1 * torch.randn_like(parameter)
    save_task(trained, 'x.task.safetensors')
    before = fresh(image)
    load_task(fresh, 'x.task.safetensors')
    assert not torch.equal(before, trained(image))
    assert torch.equal(fresh(image), trained(image))
"""
Run = Callable[..., subprocess.CompletedProcess]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('wheel')]


def call(*words: object, cwd: Path, status: int = 0) -> subprocess.CompletedProcess:
    """Run a command without the paths of this checkout."""
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    result = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because a build writes beside the sources."""
    folder = tmp_path_factory.mktemp('wheel')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True)
        else:
            shutil.copy(ROOT / name, folder)
    options = ('--no-deps', '--no-build-isolation', '--wheel-dir', 'dist')
    call(sys.executable, '-m', 'pip', 'wheel', *options, '.', cwd=folder)
    (path,) = (folder / 'dist').glob('*.whl')
    return path


@pytest.fixture(scope='module')
def environment(wheel: Path) -> Path:
    """A new environment with the wheel, in which the packages of the present one are visible."""
    folder = wheel.parent.parent / 'venv'
    call(sys.executable, '-m', 'venv', '--without-pip', folder, cwd=wheel.parent)
    (site,) = folder.glob('lib/python3*/site-packages')
    (site / 'locked.pth').write_text(sysconfig.get_path('purelib'))
    pip = (sys.executable, '-m', 'pip', '--python', folder / 'bin/python', 'install')
    call(*pip, '--no-deps', '--no-index', '--ignore-installed', wheel, cwd=wheel.parent)
    return folder


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """``run('train', ...)``: the installed command, in a folder outside of the clone."""

    def run(*words: str, status: int = 0) -> subprocess.CompletedProcess:
        return call(environment / 'bin/mmqadapter', *words, cwd=tmp_path, status=status)

    return run


@pytest.fixture
def python(environment: Path, tmp_path: Path) -> Callable[[str], str]:
    """``python(code)``: what the code prints."""
    return lambda code: call(environment / 'bin/python', '-c', code, cwd=tmp_path).stdout


def test_the_wheel_holds_what_users_need_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith('.dist-info/METADATA'))
        fields = message_from_bytes(archive.read(metadata))
    assert {name.split('/')[0].partition('-')[0] for name in names} == {'mmqadapter'}
    installed = {name.removeprefix('mmqadapter/') for name in names}
    assert {'py.typed', '.mim/tools/train.py', '.mim/model-index.yml'} <= installed
    for folder in ('configs', 'tools'):
        files = [path for path in (ROOT / folder).rglob('*') if path.suffix in ('.py', '.yaml')]
        expected = {f'.mim/{p.relative_to(ROOT).as_posix()}' for p in files if 'dev' not in p.parts}
        assert expected and expected <= installed
    assert wheel.stat().st_size < 1_000_000
    assert not any('/dev/' in name or name.endswith('.pyc') for name in names)
    assert fields['Keywords'] and fields.get_all('Project-URL') and fields.get_all('Classifier')
    assert '# mmqadapter' in fields.get_payload()


def test_the_command_is_that_of_the_wheel(run: Run, python, environment: Path) -> None:
    import mmqadapter

    assert run('--version').stdout == f'mmqadapter {mmqadapter.__version__}\n'
    assert python('import mmqadapter; print(mmqadapter.__file__)').startswith(str(environment))
    help_text = python('import runpy, sys; sys.argv = ["x", "train", "-h"];'
                       'runpy.run_module("mmqadapter", run_name="__main__")')  # fmt: skip
    assert help_text.startswith('usage: mmqadapter train')


def test_a_shipped_config_by_name(run: Run) -> None:
    table = run('task', 'plan', 'upernet_vit-tiny_qadapter_camvid', '--max-bytes', '640K').stdout
    assert 'upernet_vit-tiny_qadapter_camvid: file of at most 655,360 bytes' in table
    message = run('train', 'upernet_vit-tiny_qadapter_camvit', status=1).stderr
    assert message.count('\n') == 1 and 'did you mean upernet_vit-tiny_qadapter_camvid' in message


def test_the_tool_that_mim_starts(environment: Path, tmp_path: Path) -> None:
    (tool,) = environment.glob('lib/python3*/site-packages/mmqadapter/.mim/tools/train.py')
    python = environment / 'bin/python'
    assert '--launcher' in call(python, tool, '-h', cwd=tmp_path).stdout
    assert os.access(tool.with_name('dist_train.sh'), os.X_OK)
    words = ('absent', '--launcher', 'none', '--local-rank', '0', '--local_rank=0')
    assert "no config 'absent'" in call(python, tool, *words, cwd=tmp_path, status=1).stderr


def test_an_own_config_and_a_task_file(run: Run, python, tmp_path: Path) -> None:
    (tmp_path / 'own.py').write_text(
        "_base_ = 'mmqadapter::upernet_vit-tiny_qadapter_camvid.py'\n"
        'model = dict(backbone=dict(backbone=dict(checkpoint=None), adapter=dict(width=8)))\n'
    )
    python(ROUND_TRIP)
    assert 'width' in run('task', 'inspect', 'x.task.safetensors').stdout
