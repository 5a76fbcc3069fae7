"""Serving of a page on this machine until Ctrl-C."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from mmqadapter.serve.html import STYLE
from mmqadapter.serve.predictor import Predictor
from mmqadapter.serve.uploads import MEGABYTE

LOOPBACK = ('127.0.0.1', 'localhost', '::1')
# Before gradio is imported: it would ask for its newest version otherwise.
SETTINGS = {'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_DISABLE_TELEMETRY': '1'}
FIRST_PORTS = '7860 to 7959'  # that gradio tries
FONTS: dict[str, list[str]] = dict(
    font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']
)


@dataclass(frozen=True)
class Address:
    """The address at which a page is served.

    Attributes:
        host: Address to listen on; others than this machine reach it unless it is 127.0.0.1.
        port: The port; None for the first free one from 7860 on.
        share: Open a public link as well, through gradio's servers.
    """

    host: str = '127.0.0.1'
    port: int | None = None
    share: bool = False

    @property
    def is_open(self) -> bool:
        """True if others than the users of this machine can reach the page."""
        return self.share or self.host not in LOOPBACK


def require_gradio() -> None:
    """Check that gradio is installed, without importing it.

    Raises:
        ValueError: It is not.
    """
    if find_spec('gradio') is None:
        raise ValueError(
            "the page needs gradio, which is not installed: pip install 'mmqadapter[serve]'"
        )


@contextmanager
def served(
    predictor: Predictor, title: str, score_thr: float, address: Address
) -> Iterator[list[str]]:
    """Serve the page of a predictor; at the end the server stops and all uploads are deleted.

    Args:
        predictor: Its tasks.
        title: Heading of the page.
        score_thr: Threshold for scores at the start.
        address: Where to serve.

    Yields:
        The addresses of the page: the local one, then the public one if there is one.

    Raises:
        OSError: The port is in use, or the host is not an address of this machine.
    """
    with tempfile.TemporaryDirectory(prefix='mmqadapter-serve-') as uploads:
        os.environ.update(SETTINGS, GRADIO_TEMP_DIR=uploads)
        from mmqadapter.serve.page import build_page  # gradio takes seconds to import

        page = build_page(predictor, title, score_thr)
        try:
            yield _launch(page, address, int(predictor.limits.megabytes * MEGABYTE))
        finally:
            page.close(verbose=False)
            predictor.wait()


def _launch(page: Any, address: Address, max_bytes: int) -> list[str]:
    import gradio as gr

    try:
        _, *urls = page.launch(
            server_name=address.host, server_port=address.port, share=address.share,
            max_file_size=max_bytes, theme=gr.themes.Default(**FONTS), css=STYLE,
            prevent_thread_lock=True, quiet=True, footer_links=[], ssr_mode=False,
            enable_monitoring=False, mcp_server=False, pwa=False, run_history=False,
        )  # fmt: skip
    except OSError as error:
        raise OSError(
            f'cannot serve on host {address.host!r}, port {address.port or FIRST_PORTS}: the port '
            'is in use, or the host is not an address of this machine; give another --port or '
            '--host.'
        ) from error
    return [url for url in urls if url]


@contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """Let Ctrl-C (SIGINT) or SIGTERM end a block, which is then left without an error."""
    # Of both signals: a process that a script starts in the background ignores SIGINT.
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def wait_forever() -> None:
    """Wait until the process is interrupted."""
    while True:
        time.sleep(1)  # in steps: Windows does not interrupt a long wait
