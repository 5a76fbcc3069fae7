"""Every command of the tutorials and of the README runs, on drawn data and on a CPU.

The blocks of a page run in its order: one with a title is a file and is written, others are run.
All that differs from the page is in the tables below.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file
from shared_files import made_once
from tiny_runs import ROOT

pytest.importorskip('mmseg')
pytest.importorskip('mmdet')

TUTORIALS = ROOT / 'docs' / 'tutorials'
PAGES = sorted(path for path in TUTORIALS.glob('*.md') if path.name != 'index.md')
FENCE = re.compile(r'^```(?P<head>[^\n]*)\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)
FIRST = ('own_masks', 'own_boxes')  # build on nothing, the others on own_masks
WEIGHTS = 'vit_tiny_patch16_224.augreg_in21k_ft_in1k'  # of `--model vit-tiny`

# Patterns of a page, and what stands there in the test.
CHANGES = (
    (r'range\(40\)', 'range(10)'),
    (r' --max-iters \d+', ''),
    (r'\btrain (\S+\.py)', r'train \1 --max-iters 1'),
    (r'--max-iters 1( .*--resume)', r'--max-iters 2\1'),
    (r'--find-max-batch 11GB', '--find-max-batch 200MB --steps 1 --warm-up 0'),
    (r'dinov2-(base|small)', 'vit-tiny'),
)
README_CHANGES = ((r'\bDATA\b', 'leaves'), (r'\bIMAGES\b', 'leaves/images'))

# Beginnings of lines that are not run, and why.
NOT_RUN = {
    'pip install': 'changes the environment of all tests',
    'mmqadapter serve': 'runs until it is stopped; tests/test_serve runs it',
}
CONFIG = '_base_ = ['  # a config in the README, which tests/test_engine/test_runner.py builds

# Commands of the pages. Slurm is not here: its job runs as one process, and the options of sbatch
# and srun are only read as options.
COMMANDS = {
    'python': 'exec "$PYTHON" "$@"',
    'mmqadapter': 'exec "$PYTHON" -m mmqadapter "$@"',
    'torchrun': 'exec "$PYTHON" -m torch.distributed.run "$@"',
    'sbatch': 'test -z "$(grep "^#SBATCH" "$1" | grep -vE "^#SBATCH --[a-z-]+(=\\S+)?$")"\n'
    'exec bash -eu "$1"',
    'srun': 'while [[ $1 == --* ]]; do shift; done\nexec "${@/#slurm/none}"',
}

# What a page ends with.
RESULTS = {
    'own_masks': ('predictions/overlays/0.png', 'leaves_8bit.task.safetensors'),
    'own_boxes': ('work_dirs/bottles/best.task.safetensors', 'predictions/instances.json'),
    'one_gpu': ('large_cost/report.html', 'work_dirs/large_bf16/best.task.safetensors'),
    'cluster': ('work_dirs/two/iter_2.pth', 'work_dirs/slurm/last.task.safetensors'),
    'many_tasks': ('predictions/spots/overlays/0.png', 'predictions/outlines/overlays/0.png'),
    'from_peft': ('peft_leaves/adapter_model.safetensors',),
    'to_onnx': ('leaves.onnx',),
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``title`` is the name of a file, or empty for something to run."""

    language: str
    title: str
    code: str


def blocks_of(page: Path, changes: tuple[tuple[str, str], ...] = CHANGES) -> Iterator[Block]:
    """Yield what a page has to run, with the changes for the test."""
    for match in FENCE.finditer(page.read_text()):
        language, _, title = match['head'].partition(' ')
        if not language:  # a layout of folders
            continue
        code = '\n'.join(_lines_to_run(match['code']))
        for pattern, text in changes:
            code = re.sub(pattern, text, code)
        if code:
            yield Block(language, title.removeprefix('title=').strip('"'), f'{code}\n')


def _lines_to_run(code: str) -> list[str]:
    lines = code.splitlines()
    if lines[0].startswith(CONFIG):
        return []
    return [line for line in lines if not line.startswith(tuple(NOT_RUN))]


def run_page(blocks: Iterator[Block], folder: Path, env: dict[str, str]) -> None:
    """Write or run each block in ``folder``."""
    for block in blocks:
        if block.title:
            (folder / block.title).write_text(block.code)
            continue
        shell = ['bash', '-euo', 'pipefail', '-c']
        words = shell if block.language == 'bash' else ['python', '-c']
        done = subprocess.run(
            [*words, block.code], cwd=folder, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f'{block.code}\n{done.stdout[-4000:]}'


def assert_results(page: str, folder: Path) -> None:
    """Check that the files with which a page ends exist."""
    missing = [name for name in RESULTS[page] if not (folder / name).is_file()]
    assert not missing


@pytest.fixture(scope='session')
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of the commands: no GPU, no network, and weights in the cache of downloads."""
    folder = made_once(tmp_path_factory, 'tutorial_commands', _write_commands)
    own = dict(
        PATH=f'{folder / "bin"}{os.pathsep}{os.environ["PATH"]}',
        PYTHON=sys.executable,
        PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
        HF_HUB_CACHE=str(folder / 'hub'),
        HF_HUB_OFFLINE='1',
        CUDA_VISIBLE_DEVICES='',
    )
    return {**os.environ, **own}


def _write_commands(folder: Path) -> None:
    (folder / 'bin').mkdir()
    for name, script in COMMANDS.items():
        (folder / 'bin' / name).write_text(f'#!/usr/bin/env bash\n{script}\n')
        (folder / 'bin' / name).chmod(0o755)
    # Random weights where a download would be.
    cached = folder / 'hub' / f'models--timm--{WEIGHTS}'
    for path in (cached / 'refs', cached / 'snapshots' / '0'):
        path.mkdir(parents=True)
    (cached / 'refs' / 'main').write_text('0')
    state = timm.create_model(WEIGHTS).state_dict()
    save_file(state, cached / 'snapshots' / '0' / 'model.safetensors')


@pytest.fixture(scope='session')
def own_masks(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Path:
    """Folder in which the commands of the first page have run; only read."""
    page = TUTORIALS / 'own_masks.md'
    return made_once(
        tmp_path_factory, 'own_masks', lambda folder: run_page(blocks_of(page), folder, env)
    )


@pytest.fixture
def folder(own_masks: Path, tmp_path: Path) -> Path:
    """Folder of a reader who has done the first page."""
    return shutil.copytree(own_masks, tmp_path / 'reader')


@pytest.mark.slow
def test_own_boxes(tmp_path: Path, env: dict[str, str]) -> None:
    run_page(blocks_of(TUTORIALS / 'own_boxes.md'), tmp_path, env)
    assert_results('own_boxes', tmp_path)


@pytest.mark.slow
def test_own_masks(own_masks: Path) -> None:
    assert_results('own_masks', own_masks)


@pytest.mark.slow
@pytest.mark.parametrize(
    'page', [page for page in PAGES if page.stem not in FIRST], ids=lambda page: page.stem
)
def test_a_tutorial(page: Path, folder: Path, env: dict[str, str]) -> None:
    if page.stem == 'from_peft':
        pytest.importorskip('peft')
        env = {**env, 'PYTHONPATH': str(ROOT)}  # with transformers, which peft needs
    run_page(blocks_of(page), folder, env)
    assert_results(page.stem, folder)


@pytest.mark.slow
def test_the_readme(folder: Path, env: dict[str, str]) -> None:
    task = folder / 'work_dirs' / 'leaves' / 'best.task.safetensors'
    shutil.copy(task, folder / 'cracks.task.safetensors')
    for name in ('a.jpg', 'b.jpg'):
        shutil.copy(folder / 'leaves' / 'images' / '0.jpg', folder / name)
    run_page(blocks_of(ROOT / 'README.md', CHANGES + README_CHANGES), folder, env)
    assert (folder / 'predictions/overlays/0.png').is_file()


def test_every_difference_from_the_pages_is_needed() -> None:
    text = '\n'.join(page.read_text() for page in (*PAGES, ROOT / 'README.md'))
    assert all(f'\n{beginning}' in text for beginning in (*NOT_RUN, CONFIG))
    for pattern, replacement in CHANGES + README_CHANGES:
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern


def test_every_block_of_a_tutorial_is_run() -> None:
    heads = [match['head'] for page in PAGES for match in FENCE.finditer(page.read_text())]
    assert {head.partition(' ')[0] for head in heads} == {'', 'bash', 'python'}
    layouts = [
        m['code'] for page in PAGES for m in FENCE.finditer(page.read_text()) if not m['head']
    ]
    assert not any(re.match('mmqadapter|python|torchrun', code) for code in layouts)
