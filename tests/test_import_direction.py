"""Imports run one way, without a circle, and the pure rooms need no vision package."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import mmqadapter

PACKAGE = Path(mmqadapter.__file__).parent
# A room imports from the floors below its own, and from itself.
FLOORS = (
    {'compat'},
    {'registry', 'utils', 'version'},
    {'quant'},
    {'adapters'},
    {'highway', 'taskfile'},
    {'backbones', 'checkpoints'},
    {'engine'},
    {'data_checks', 'hooks', 'inference'},
    {'interop'},
    {'own_data', 'serve', 'studies'},
    {'cli'},
    {'__main__'},
)
PURE = {'utils', 'quant', 'adapters', 'highway', 'taskfile', 'backbones/acceleration'}
VISION = {'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'timm'}
FILES = sorted(PACKAGE.rglob('*.py'))


def room(name: str) -> str:
    """Top-level room of a full module name."""
    return name.split('.')[1]


def module_name(file: Path) -> str:
    """Full name of the module in ``file``."""
    parts = file.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(parts).removesuffix('.__init__')


def imports(file: Path) -> set[str]:
    """Full names of all that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{file} has a relative import'
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
    return names


def own_imports(file: Path) -> set[str]:
    """Modules of the package that a file imports."""
    modules = {module_name(other) for other in FILES}
    names = {name for name in imports(file) if name.startswith('mmqadapter.')}
    return {name if name in modules else name.rpartition('.')[0] for name in names}


def in_rooms(*rooms: str) -> list[Path]:
    return [file for file in FILES if any((PACKAGE / room) in file.parents for room in rooms)]


def test_a_room_imports_only_from_the_floors_below() -> None:
    floor_of = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    for file in FILES:
        if file.parent == PACKAGE and file.stem == '__init__':
            continue
        own = room(module_name(file))
        for other in {room(name) for name in own_imports(file) if name != 'mmqadapter'} - {own}:
            assert floor_of[other] < floor_of[own], f'{file} imports from {other!r}'


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {module_name(file): own_imports(file) for file in FILES if file.stem != '__init__'}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_pure_rooms_need_no_vision_package() -> None:
    for file in in_rooms(*PURE):
        assert not {name.split('.')[0] for name in imports(file)} & VISION, file


def test_backbones_and_hooks_run_with_either_of_mmdet_and_mmseg() -> None:
    for file in in_rooms('backbones', 'hooks'):
        assert not {name.split('.')[0] for name in imports(file)} & {'mmdet', 'mmseg'}, file
