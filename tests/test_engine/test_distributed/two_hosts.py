"""Two hosts on one machine: network namespaces joined by a virtual cable."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

# A network that leads nowhere: it is inside the two namespaces alone.
ADDRESSES = ('10.77.0.1', '10.77.0.2')
CABLE = 'mmqa0'


@dataclass(frozen=True)
class Host:
    """Network namespace with an address of its own."""

    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """Words to put before a command line so that it runs on this host."""
        return ['ip', 'netns', 'exec', self.name]


def obstacle() -> str:
    """Return why this machine cannot have network namespaces; '' if it can."""
    if shutil.which('ip') is None:
        return 'network namespaces need ip (package iproute2)'
    try:
        with two_hosts():
            return ''
    except subprocess.CalledProcessError as error:
        return f'network namespaces cannot be made here: {error.stderr.strip()}'


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make two hosts that reach each other and nothing else, and remove them afterwards."""
    first, second = (
        Host(f'mmqa{os.getpid()}-{number}', address) for number, address in enumerate(ADDRESSES)
    )
    with ExitStack() as after:
        for host in (first, second):
            _ip('netns', 'add', host.name)
            after.callback(_ip, 'netns', 'delete', host.name)
        # Both ends are made inside, so that the machine's own network never has them.
        end = ['name', CABLE, 'netns', second.name]
        _ip('-n', first.name, 'link', 'add', CABLE, 'type', 'veth', 'peer', *end)
        for host in (first, second):
            _ip('-n', host.name, 'address', 'add', f'{host.address}/24', 'dev', CABLE)
            for device in ('lo', CABLE):
                _ip('-n', host.name, 'link', 'set', device, 'up')
        yield first, second


def _ip(*words: str) -> None:
    subprocess.run(['ip', *words], check=True, capture_output=True, text=True)
