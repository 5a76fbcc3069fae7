"""torchrun, whose last words name the process that was lost and how to go on."""

from __future__ import annotations

import signal
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import main as torchrun

NAMES = {-number.value: number.name for number in signal.Signals}


def main() -> int:
    """Run torchrun with the arguments of the command line."""
    try:
        torchrun()
    except ChildFailedError as error:
        print(last_words(error), file=sys.stderr)
        return 1
    return 0


def last_words(error: ChildFailedError) -> str:
    """Which process ended first, why as far as that is known, and what to do."""
    rank, failure = min(error.failures.items(), key=_order)
    return (
        f'The process of rank {rank} (number {failure.local_rank} on this machine, PID '
        f'{failure.pid}) {_cause(failure.exitcode)}. All processes of this machine have ended. '
        'When the cause is gone start again; --resume goes on exactly from the last '
        'checkpoint of a training.'
    )


def _order(item: tuple[int, ProcessFailure]) -> tuple[bool, bool, int]:
    """Last those that torchrun ended itself; before them those that missed another process."""
    code = item[1].exitcode
    return code == -signal.SIGTERM, code > 0, int(item[1].timestamp)


def _cause(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return 'was killed (SIGKILL): by somebody, or because memory ran out (dmesg tells)'
    if exit_code < 0:
        return f'was ended by {NAMES.get(exit_code, f"signal {-exit_code}")}'
    return (
        f'ended with code {exit_code}; its own words stand above. If they speak of a connection, '
        'another machine lost a process first: look there'
    )


if __name__ == '__main__':
    sys.exit(main())
