"""The page through its HTTP interface: answers, messages, limits, and what is not served."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_runs import ROOT, Run, tool

from mmqadapter.serve.predictor import Predictor
from mmqadapter.serve.server import SETTINGS, Address, served
from mmqadapter.serve.uploads import UploadLimits

pytest.importorskip('gradio', reason='needs gradio')
httpx = pytest.importorskip('httpx', reason='needs gradio')
gradio_client = pytest.importorskip('gradio_client', reason='needs gradio')
LIMITS = UploadLimits(megabytes=0.25, megapixels=0.01)
Call = Callable[..., tuple[str, list[Any]]]
NOTHING = [None] * 4


@pytest.fixture
def environment(monkeypatch) -> None:
    """Restore after the test what the server sets for gradio."""
    for name in (*SETTINGS, 'GRADIO_TEMP_DIR'):
        monkeypatch.setenv(name, '')


@pytest.fixture
def url(highway: Predictor, environment: None) -> Iterator[str]:
    """Address of a page with the tasks ``cracks`` and ``rust``."""
    highway.limits = LIMITS
    with served(highway, 'walls', 0.3, Address()) as (url,):
        yield url


@pytest.fixture
def call(url: str, tmp_path: Path) -> Call:
    """``call(file, names, score)``: the message, then overlay and table of each task."""
    client = gradio_client.Client(url, verbose=False, download_files=tmp_path / 'downloads')

    def predict(
        file: Path | dict | None, names: list[str], score: float = 0.3
    ) -> tuple[str, list[Any]]:
        image = gradio_client.handle_file(str(file)) if isinstance(file, Path) else file
        status, *parts = client.predict(image, names, score, api_name='/predict')
        return re.sub('<[^>]*>', '', status), parts

    return predict


def test_an_image_gives_an_overlay_and_a_table_for_each_chosen_task(
    call: Call, image: Path, highway: Predictor
) -> None:
    status, parts = call(image, ['cracks', 'rust'])
    assert status.startswith('64 x 64 pixels. cracks, rust: ')
    assert status.endswith('ms (the backbone ran once).')
    expected = highway.predict(image, ['cracks', 'rust']).results
    for name, overlay, table in zip(expected, parts[::2], parts[1::2], strict=True):
        assert np.array_equal(np.asarray(Image.open(overlay)), expected[name].overlay)
        assert all(row.name in table for row in expected[name].rows)
    _, (overlay, table, *second) = call(image, ['rust'])
    assert (overlay, table) == (None, None)
    assert np.array_equal(np.asarray(Image.open(second[0])), expected['rust'].overlay)


def test_what_cannot_be_predicted_is_one_line_and_the_next_image_works(
    call: Call, image: Path, tmp_path: Path
) -> None:
    large = tmp_path / 'large.png'
    Image.new('RGB', (200, 100)).save(large)
    text, half = tmp_path / 'text.png', tmp_path / 'half.jpg'
    text.write_text('<b>no</b> image')
    half.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    for file, message in {
        text: 'text.png: is not an image: expected an undamaged ',
        half: 'half.jpg: cannot be read as an image',
        large: 'large.png: has 200 x 100 pixels: expected at most 0.01 megapixels',
    }.items():
        status, parts = call(file, ['rust'])
        assert status.startswith(message) and '\n' not in status
        assert parts == NOTHING
    assert call(None, ['rust']) == ('Drop an image, or take one with the camera.', NOTHING)
    assert call(image, []) == ('Choose one task or several.', NOTHING)
    assert call(image, ['rust'])[0].startswith('64 x 64 pixels.')


def test_a_heavy_file_is_refused_while_it_is_uploaded(url: str) -> None:
    answer = httpx.post(f'{url}gradio_api/upload', files={'files': ('heavy.jpg', bytes(2**19))})
    assert answer.status_code == 413 and answer.text.startswith('File size exceeded maximum')


def test_invalid_requests_do_not_end_the_server(call: Call, image: Path) -> None:
    for names, score in (['no'], 0.3), (['rust'], 2), ('rust', 0.3), (['rust'], 'high'):
        with pytest.raises(gradio_client.exceptions.AppError):
            call(image, names, score)
    assert call(image, ['rust'])[0].startswith('64 x 64 pixels.')


def test_files_of_the_machine_are_not_served(url: str, image: Path) -> None:
    assert httpx.get(f'{url}gradio_api/file={image}').status_code == 403
    # A client of gradio would upload the file first.
    stranger = {'path': str(image), 'meta': {'_type': 'gradio.FileData'}}
    started = httpx.post(f'{url}gradio_api/call/predict', json={'data': [stranger, ['rust'], 0.3]})
    event = started.json()['event_id']
    answer = httpx.get(f'{url}gradio_api/call/predict/{event}', timeout=60).text
    assert answer.startswith('event: error') and 'pixels' not in answer


def test_nothing_is_sent_to_other_machines(
    highway: Predictor, environment: None, image: Path, monkeypatch
) -> None:
    connected, connect = [], socket.socket.connect

    def record(self: socket.socket, address: Any) -> Any:
        connected.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, 'connect', record)
    with served(highway, 'walls', 0.3, Address()) as (url,):
        client = gradio_client.Client(url, verbose=False)
        client.predict(gradio_client.handle_file(str(image)), ['rust'], 0.3, api_name='/predict')
        page = urllib.request.urlopen(url).read().decode()
        time.sleep(1)  # gradio asks for its newest version in a thread
    assert connected and {address[0] for address in connected} <= {'127.0.0.1', '::1'}
    assert 'fonts.googleapis' not in page and '<script src="http' not in page


def test_uploads_are_deleted_at_the_end(highway: Predictor, environment: None, image: Path) -> None:
    with served(highway, 'walls', 0.3, Address()) as (url,):
        uploads = Path(os.environ['GRADIO_TEMP_DIR'])
        client = gradio_client.Client(url, verbose=False)
        client.predict(gradio_client.handle_file(str(image)), ['rust'], 0.3, api_name='/predict')
        assert list(uploads.rglob('*.jpg')) and list(uploads.rglob('*.png'))
    assert not uploads.exists()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)


def test_a_port_in_use_is_one_line(semantic: Run, environment: None, capsys) -> None:
    with socket.socket() as busy:
        busy.bind(('127.0.0.1', 0))
        busy.listen()
        port = busy.getsockname()[1]
        options = ['--device', 'cpu', '--port', str(port)]
        assert tool('serve')([semantic.config, semantic.task, *options]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"OSError: cannot serve on host '127.0.0.1', port {port}: the port is in use, or the host "
        'is not an address of this machine; give another --port or --host.'
    )


def test_the_command_says_where_the_page_is_and_what_it_left_out(
    semantic: Run, tmp_path: Path, environment: None, monkeypatch, capsys
) -> None:
    opened, errors = [], []

    def visit() -> None:
        printed = capsys.readouterr()
        address = re.search('http://[^ ]*', printed.out)
        assert address is not None
        opened.append(httpx.get(address[0].replace('0.0.0.0', '127.0.0.1')).status_code)
        errors.append(printed.err)

    monkeypatch.setattr('mmqadapter.cli.serve.wait_forever', visit)
    run = [semantic.config, semantic.task, str(tmp_path / 'no.safetensors'), '--device', 'cpu']
    assert tool('serve')(run) == 0
    ended = 'The server has ended; all uploaded images are deleted.\n'
    assert capsys.readouterr() == (ended, '')
    assert tool('serve')([*run, '--host', '0.0.0.0']) == 0
    assert opened == [200, 200]
    assert all('no cannot be used: there is no task file' in printed for printed in errors)
    assert ['it asks for no password' in printed for printed in errors] == [False, True]


@pytest.mark.slow
def test_an_interrupt_ends_the_command(semantic: Run, tmp_path: Path) -> None:
    command = [sys.executable, '-u', '-m', 'mmqadapter', 'serve', semantic.config, semantic.task]
    environment = {**os.environ, 'TMPDIR': str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        cwd=ROOT,
    ) as process:  # fmt: skip
        line = next(line for line in process.stdout if 'Ctrl-C' in line)
        assert line.startswith('1 task on http://127.0.0.1:')
        assert len(list(tmp_path.glob('mmqadapter-serve-*'))) == 1
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and 'Traceback' not in errors
    assert output == 'The server has ended; all uploaded images are deleted.\n'
    assert not list(tmp_path.glob('mmqadapter-serve-*'))
