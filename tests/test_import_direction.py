"""Imports go one way, and the pure parts need no detection or segmentation package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mmqadapter

PACKAGE = Path(mmqadapter.__file__).parent
BOTTOM = {
    'accounting',
    'atomic',
    'checkpoint_file',
    'compat',
    'error_text',
    'kept',
    'random_state',
    'registry',
    'sharding',
    'version',
}
# Each part, and the parts below it that it may import, besides itself. What has no row stands on
# top: it may import all of these, and none of these may import it.
MAY_IMPORT = {
    **{part: set() for part in BOTTOM},
    'checkpoint_file': {'error_text'},
    'sharding': {'accounting'},
    'quant': BOTTOM,
    'adapters': BOTTOM | {'quant'},
    'highway': BOTTOM | {'quant', 'adapters'},
    'taskfile': BOTTOM | {'quant', 'adapters'},
    'trunk': BOTTOM | {'adapters'},
    'datasets': BOTTOM,
    'checks': BOTTOM,
    'optim': BOTTOM,
    'backbones': BOTTOM | {'quant', 'adapters', 'highway', 'taskfile', 'trunk'},
    'taskbank': BOTTOM | {'quant', 'adapters', 'taskfile'},
    'petl_vit': BOTTOM | {'quant', 'adapters', 'taskfile', 'backbones'},
    'peft_lora': BOTTOM | {'quant', 'adapters', 'taskfile', 'backbones'},
    'hooks': BOTTOM | {'quant', 'adapters', 'taskfile', 'backbones', 'datasets'},
}
PURE = {
    'accounting',
    'atomic',
    'error_text',
    'kept',
    'quant',
    'adapters',
    'highway',
    'taskfile',
    'taskbank',
    'trunk',
}
FOREIGN = {'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'timm'}


def part_of(file: Path) -> str:
    """Top-level part of the package that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports(file: Path) -> set[str]:
    """Full names of all that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{file} has a relative import'
            found.update(f'{node.module}.{alias.name}' for alias in node.names)
    return found


FILES = sorted(PACKAGE.rglob('*.py'))
LAYERED = [file for file in FILES if part_of(file) in MAY_IMPORT]


@pytest.mark.parametrize('file', LAYERED, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_what_lies_below(file: Path) -> None:
    names = [name.split('.') for name in imports(file)]
    own = {name[1] for name in names if name[0] == 'mmqadapter' and len(name) > 1}
    assert own <= MAY_IMPORT[part_of(file)] | {part_of(file)}


@pytest.mark.parametrize('file', [f for f in FILES if part_of(f) in PURE], ids=str)
def test_pure_parts_need_no_vision_package(file: Path) -> None:
    assert not {name.split('.')[0] for name in imports(file)} & FOREIGN


@pytest.mark.parametrize(
    'file', [f for f in FILES if part_of(f) in {'backbones', 'hooks'}], ids=str
)
def test_backbones_and_hooks_run_with_either_of_mmdet_and_mmseg(file: Path) -> None:
    assert not {name.split('.')[0] for name in imports(file)} & {'mmdet', 'mmseg'}


def test_no_row_is_of_a_part_that_is_gone() -> None:
    assert MAY_IMPORT.keys() <= {part_of(file) for file in FILES}
