"""Serving without gradio, and what the server does when it is told to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from tiny_runs import Run, tool

from mmqadapter.serve import server
from mmqadapter.serve.server import Address, ended_by_interrupt, require_gradio, wait_forever


def test_without_gradio_one_line_says_how_to_install_it(semantic: Run, monkeypatch, capsys) -> None:
    monkeypatch.setattr(server, 'find_spec', lambda name: None)
    assert tool('serve')([semantic.config, semantic.task]) == 1
    printed = capsys.readouterr()
    assert printed.out == '' and printed.err.count('\n') == 1
    assert printed.err == (
        'ValueError: the page needs gradio, which is not installed: '
        "pip install 'mmqadapter[serve]'\n"
    )


def test_with_gradio_nothing_is_said_and_nothing_imported(monkeypatch) -> None:
    monkeypatch.setattr(server, 'find_spec', lambda name: name)
    require_gradio()


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (['--score-thr', '2'], 'score_thr=2.0 is invalid'),
        (['--max-megabytes', '0'], 'max_megabytes=0.0 is invalid'),
        (['--max-megapixels', '-1'], 'max_megapixels=-1.0 is invalid'),
        (['--device', 'warp'], "device='warp' is not available"),
    ],
)
def test_invalid_options_are_one_line(
    semantic: Run, options: list[str], error: str, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(server, 'find_spec', lambda name: name)
    assert tool('serve')([semantic.config, semantic.task, *options]) == 1
    assert error in capsys.readouterr().err.splitlines()[-1]


def test_others_reach_a_page_only_if_they_are_let_in() -> None:
    assert Address() == Address('127.0.0.1', None, share=False)
    assert not Address().is_open and not Address('localhost').is_open
    assert Address('0.0.0.0').is_open and Address(share=True).is_open


@pytest.fixture
def ignored_interrupt() -> Iterator[None]:
    """Ignore SIGINT, as in the background of a script."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures('ignored_interrupt')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_block(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    with ended_by_interrupt():
        wait_forever()
    timer.join()
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_other_errors_leave_the_block() -> None:
    with pytest.raises(OSError, match='full'), ended_by_interrupt():
        raise OSError('full')
