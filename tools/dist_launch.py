"""Run torchrun; at a failure, name the process that failed first and how to resume."""

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
        print(failure_message(error), file=sys.stderr)
        return 1
    return 0


def failure_message(error: ChildFailedError) -> str:
    """Return which process failed first, the cause as far as it is known, and what to do."""
    rank, failure = min(error.failures.items(), key=_order)
    return (
        f'The process of rank {rank} (number {failure.local_rank} on this machine, PID '
        f'{failure.pid}) {_cause(failure.exitcode)}. All processes on this machine have ended. '
        'Remove the cause and start again; with --resume a training continues exactly from its '
        'last checkpoint.'
    )


def _order(item: tuple[int, ProcessFailure]) -> tuple[bool, bool, int]:
    """Sort by cause: killed processes first, then errors, then those that torchrun ended."""
    code = item[1].exitcode
    return code == -signal.SIGTERM, code > 0, int(item[1].timestamp)


def _cause(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return 'was killed (SIGKILL), by a user or because memory ran out (see dmesg)'
    if exit_code < 0:
        return f'was ended by {NAMES.get(exit_code, f"signal {-exit_code}")}'
    return (
        f'ended with code {exit_code}; its error is printed above. If that is a lost connection, '
        'a process on another machine failed first: look there'
    )


if __name__ == '__main__':
    sys.exit(main())
