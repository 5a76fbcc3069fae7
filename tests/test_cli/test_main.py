"""The entry point ``mmqadapter COMMAND ...``."""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import setuptools
from tiny_runs import ROOT, Run

from mmqadapter import __version__
from mmqadapter.cli.main import COMMANDS, main


def test_every_command_file_is_a_command_and_has_a_tool() -> None:
    for name in COMMANDS:
        module = name.replace('-', '_')
        assert import_module(f'mmqadapter.cli.{module}').main
        assert (ROOT / 'tools' / f'{module}.py').is_file()


@pytest.mark.parametrize('option', ['-h', '--help'])
def test_help_lists_all_commands(option: str, capsys) -> None:
    assert main([option]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('usage: mmqadapter COMMAND')
    for name, description in COMMANDS.items():
        assert name in printed and description in printed


def test_no_command_is_an_error_with_the_help(capsys) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == '' and 'usage: mmqadapter COMMAND' in printed.err


def test_the_version(capsys) -> None:
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'mmqadapter {__version__}\n'


@pytest.mark.parametrize('word', ['trian', '--verbose', 'check_data', 'a\x1b[2J'])
def test_an_unknown_command_is_one_line(word: str, capsys) -> None:
    assert main([word, '--help']) == 2
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.count('\n') == 1 and '\x1b' not in printed.err
    assert printed.err.startswith(f'mmqadapter: {word!r} is not a command: expected one of train, ')


@pytest.mark.parametrize('name', COMMANDS)
def test_usage_shows_the_typed_command(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, '--help'])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: mmqadapter {name} ')


def test_arguments_and_exit_status_pass(semantic: Run, capsys) -> None:
    assert main(['task', 'verify', semantic.task]) == 0
    assert 'intact' in capsys.readouterr().out
    assert main(['task', 'verify', 'no.safetensors']) == 1
    assert capsys.readouterr().err.startswith('FileNotFoundError: ')


SCRIPT = """
import sys
from mmqadapter.cli.main import main
status = main()
unwanted = ('mmqadapter.cli.', 'mmqadapter.studies', 'mmqadapter.interop')
loaded = [name for name in sys.modules if name.startswith(unwanted)]
assert loaded == ['mmqadapter.cli.main'], loaded
sys.exit(status)
"""


def test_help_imports_no_command(tmp_path: Path) -> None:
    command = [sys.executable, '-c', SCRIPT, '--help']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '') and 'usage: mmqadapter' in done.stdout


def test_usage_of_a_tool_and_of_a_module(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, 'argv', ['', '--help'])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        runpy.run_path('tools/task.py', run_name='__main__')
    assert capsys.readouterr().out.startswith('usage: python tools/task.py ')
    monkeypatch.delitem(sys.modules, 'mmqadapter.cli.train', raising=False)
    with pytest.raises(SystemExit):
        runpy.run_module('mmqadapter.cli.train', run_name='__main__', alter_sys=True)
    assert capsys.readouterr().out.startswith('usage: python -m mmqadapter.cli.train ')


def test_the_console_script_is_this_function(monkeypatch) -> None:
    metadata: dict = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **values: metadata.update(values))
    runpy.run_path(str(ROOT / 'setup.py'))
    (script,) = metadata['entry_points']['console_scripts']
    name, target = script.split(' = ')
    module, function = target.split(':')
    assert name == 'mmqadapter' and getattr(import_module(module), function) is main
