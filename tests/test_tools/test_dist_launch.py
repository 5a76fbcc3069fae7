"""The message when one of several processes fails."""

from __future__ import annotations

import importlib.util
import signal

import pytest
from tiny_runs import ROOT
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure


@pytest.fixture
def message_of():
    """``message_of(exit code of rank 0, exit code of rank 1, ...)``."""
    spec = importlib.util.spec_from_file_location('dist_launch', ROOT / 'tools/dist_launch.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def message_of(*codes: int) -> str:
        failures = {
            rank: ProcessFailure(rank, 70 + rank, code, '') for rank, code in enumerate(codes)
        }
        return module.failure_message(ChildFailedError('train.py', failures))

    return message_of


@pytest.mark.parametrize('codes', [(-15, -9), (1, -9), (-15, 1, -9)])
def test_a_killed_process_is_the_cause_of_all_others(message_of, codes) -> None:
    rank = codes.index(-signal.SIGKILL)
    message = message_of(*codes)
    assert message.startswith(f'The process of rank {rank} (number {rank} on this machine, PID 7')
    assert 'memory ran out' in message and '--resume' in message


def test_an_error_of_its_own_comes_before_those_that_were_ended(message_of) -> None:
    message = message_of(-signal.SIGTERM, 1)
    assert message.startswith('The process of rank 1 ') and 'ended with code 1' in message


def test_other_signals_have_names(message_of) -> None:
    assert 'was ended by SIGSEGV' in message_of(-signal.SIGSEGV)
