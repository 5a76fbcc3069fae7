"""What is said when a process of several is lost."""

from __future__ import annotations

import importlib.util
import signal

import pytest
from tiny_runs import ROOT
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure


@pytest.fixture
def last_words():
    """``last_words(code of rank 0, code of rank 1, ...)``."""
    spec = importlib.util.spec_from_file_location('dist_launch', ROOT / 'tools/dist_launch.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def say(*codes: int) -> str:
        failures = {
            rank: ProcessFailure(rank, 70 + rank, code, '') for rank, code in enumerate(codes)
        }
        return module.last_words(ChildFailedError('train.py', failures))

    return say


@pytest.mark.parametrize('codes', [(-15, -9), (1, -9), (-15, 1, -9)])
def test_a_killed_process_is_the_cause_of_all_others(last_words, codes) -> None:
    rank = codes.index(-signal.SIGKILL)
    words = last_words(*codes)
    assert words.startswith(f'The process of rank {rank} (number {rank} on this machine, PID 7')
    assert 'memory ran out' in words and '--resume' in words


def test_an_error_of_its_own_comes_before_those_that_were_ended(last_words) -> None:
    words = last_words(-signal.SIGTERM, 1)
    assert words.startswith('The process of rank 1 ') and 'ended with code 1' in words


def test_other_signals_have_names(last_words) -> None:
    assert 'was ended by SIGSEGV' in last_words(-signal.SIGSEGV)
