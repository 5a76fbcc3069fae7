from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys

import pytest

from mmqadapter.cli.common import OURS, SHOW_TRACEBACK, command_parser, user_errors
from mmqadapter.quant import GaussianQuantizer


@user_errors
def main(error: BaseException | None = None, status: int | None = None) -> int | None:
    if error is not None:
        raise error
    return status


def test_statuses_pass() -> None:
    assert main() == 0
    assert main(status=3) == 3


@pytest.mark.parametrize('kind', [ValueError, FileNotFoundError])
def test_a_user_error_is_one_line(kind: type[Exception], capsys) -> None:
    assert main(kind('two\n   lines')) == 1
    message = capsys.readouterr().err
    assert message.startswith(f'{kind.__name__}: two lines') and message.count('\n') == 1


def test_an_error_from_elsewhere_says_how_to_find_the_place(capsys) -> None:
    main(ValueError('x'))
    assert SHOW_TRACEBACK in capsys.readouterr().err
    user_errors(lambda: GaussianQuantizer(bits=3))()
    tool = compile('raise ValueError("of a tool")', OURS[1] / 'some.py', 'exec')
    user_errors(lambda: exec(tool))()
    assert SHOW_TRACEBACK not in capsys.readouterr().err


def test_the_line_holds_no_control_characters(capsys) -> None:
    assert main(ValueError('a\x1b[2Jb\x9bc')) == 1
    assert capsys.readouterr().err.startswith('ValueError: a\\x1b[2Jb\\x9bc ')


@pytest.fixture
def restored_excepthook(monkeypatch) -> None:
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)


def test_the_traceback_can_be_had(monkeypatch, restored_excepthook) -> None:
    monkeypatch.setenv(SHOW_TRACEBACK, '1')
    with pytest.raises(ValueError, match='x'):
        main(ValueError('x'))


def test_our_own_bugs_are_not_hidden(restored_excepthook) -> None:
    with pytest.raises(KeyError):
        main(KeyError('x'))


def test_a_traceback_holds_no_control_characters(restored_excepthook, capsys) -> None:
    with pytest.raises(RuntimeError) as caught:
        main(RuntimeError('a\x1b[2Jb'))
    sys.excepthook(caught.type, caught.value, caught.tb)
    printed = capsys.readouterr().err
    assert 'RuntimeError: a\\x1b[2Jb' in printed and '\x1b' not in printed


def test_usage_shows_what_was_typed(monkeypatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', 'config.py'])
    monkeypatch.setattr(sys.modules['__main__'], '__spec__', None)
    assert command_parser(None, '').prog == 'python tools/train.py'
    spec = importlib.util.find_spec('mmqadapter.cli.train')
    monkeypatch.setattr(sys.modules['__main__'], '__spec__', spec)
    assert command_parser(None, '').prog == 'python -m mmqadapter.cli.train'
    assert command_parser('mmqadapter train', '').prog == 'mmqadapter train'


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path) -> None:
    script = (
        'import sys; from mmqadapter.cli.common import user_errors\n'
        'sys.exit(user_errors(lambda: [print("x" * 99) for _ in range(9999)] and 0)())'
    )
    command = (
        f'{sys.executable} -c {shlex.quote(script)} 2>errors | head -1; echo ${{PIPESTATUS[0]}}'
    )
    done = subprocess.run(['bash', '-c', command], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == '0' and (tmp_path / 'errors').read_text() == ''


def test_an_interruption_is_one_line(capsys) -> None:
    assert main(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == 'Interrupted.\n'
