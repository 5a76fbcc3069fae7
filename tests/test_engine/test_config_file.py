"""A fault of a config is told in one line: the file, the line, and what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmqadapter.cli.fits import main as fits
from mmqadapter.engine.config_file import read_config

BROKEN: dict[str, tuple[bytes, str]] = {
    'syntax.py': (b'a = 1\nx = (\n', r'syntax.py, line 2: SyntaxError: .*never closed'),
    'name.py': (b'a = 1\n\nb = c\n', r"name.py, line 3: NameError: name 'c' is not defined"),
    'kind.py': (b'a = 1 + "x"\n', r'kind.py, line 1: TypeError: unsupported operand'),
    'inner.py': (b'def f(x):\n    return x["k"]\n\na = f({})\n', r'inner.py, line 2: KeyError: k'),
    'latin.py': (b'a = 1\n# Stra\xe9\n', r'latin.py, line 2: byte 0xe9 is not UTF-8'),
    'script.py': (b'import torch\n\nassert not torch\n', r'script.py, line 3: AssertionError'),
    'broken.yaml': (b'a: 1\nb: [1, 2\nc: 3\n', r'broken.yaml, line 3: invalid YAML: did not find'),
    'broken.json': (b'{"a": 1,\n "b": }', r'broken.json, line 2: Expecting value$'),
    'module.py': (
        b'custom_imports = dict(imports=["no_such_module"])\n',
        r'module.py: custom_imports fails \(.*no_such_module\); .*PYTHONPATH',
    ),
    'own.py': (b'_base_ = "own.py"\n', r'own.py: its _base_ leads back to itself'),
    'task.bin': (b'', r"task.bin' is not a config: expected one of .py, .yaml"),
}
INHERITED = [name for name in BROKEN if name.split('.')[0] in ('syntax', 'name', 'latin', 'broken')]


def write(folder: Path) -> None:
    for name, (content, _) in BROKEN.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize('name', BROKEN)
def test_a_fault_is_told_with_file_and_line(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=f'{re.escape(str(tmp_path))}.*{BROKEN[name][1]}'):
        read_config(tmp_path / name)


@pytest.mark.parametrize('name', INHERITED)
def test_a_fault_of_an_inherited_file_is_told_of_that_file(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / 'child.py').write_text(f'_base_ = {name!r}\n')
    with pytest.raises(ValueError, match=f'^config {re.escape(str(tmp_path))}/{BROKEN[name][1]}'):
        read_config(tmp_path / 'child.py')


def test_an_inherited_file_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / 'child.py').write_text("_base_ = 'none.py'\n")
    expected = "child.py: there is no '.*/none.py', which its _base_ names"
    with pytest.raises(FileNotFoundError, match=expected):
        read_config(tmp_path / 'child.py')


def test_a_command_prints_one_line(tmp_path: Path, capsys) -> None:
    write(tmp_path)
    assert fits([str(tmp_path / 'syntax.py'), '--memory', '11GB']) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'ValueError: config {tmp_path / "syntax.py"}, line 2: SyntaxError')
