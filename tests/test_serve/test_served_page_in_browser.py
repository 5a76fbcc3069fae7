"""The page in a real Chromium; skipped where none is installed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmqadapter.serve.predictor import Predictor
from mmqadapter.serve.server import SETTINGS, Address, served
from mmqadapter.serve.uploads import UploadLimits

pytest.importorskip('gradio', reason='needs gradio')
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('browser')]
NAMES = ('chromium', 'chromium-browser', 'google-chrome')
OPTIONS = (
    '--no-sandbox',
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',  # allows the camera without asking
)
SOON = 60_000  # milliseconds


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip('playwright.sync_api', reason='needs playwright')
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f'needs a browser: none of {", ".join(NAMES)} is installed')
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, highway: Predictor, monkeypatch) -> Iterator[Any]:
    """The page with the tasks ``cracks`` and ``rust``; finally checks its requests and errors."""
    for name in (*SETTINGS, 'GRADIO_TEMP_DIR'):
        monkeypatch.setenv(name, '')
    highway.limits = UploadLimits(megabytes=1, megapixels=4)
    hosts, errors = set(), []
    with served(highway, 'walls', 0.3, Address()) as (url,):
        page = browser.new_page(viewport={'width': 1400, 'height': 950})
        page.on('request', lambda request: hosts.add(re.split('[/]+', request.url)[1]))
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.goto(url)
        page.get_by_role('button', name='Predict').wait_for(timeout=SOON)
        yield page
        page.close()
    assert hosts - {url.split('/')[2]} <= {''}  # data: has no host
    assert not errors


def drop(page: Any, file: Path) -> None:
    page.locator('input[type=file]').first.set_input_files(str(file))


def message(page: Any, text: str) -> str:
    """Wait for a message that has ``text``, and return it."""
    status = page.locator('.mmq[role=status]', has_text=text)
    status.wait_for(timeout=SOON)
    return status.inner_text()


def overlays(page: Any) -> list[str]:
    """Return what the visible overlays are called by screen readers."""
    images = page.locator('.overlay img')
    return [shown.get_attribute('alt') for shown in images.all() if shown.is_visible()]


def test_a_dropped_image_is_predicted_by_the_chosen_tasks(page: Any, image: Path) -> None:
    assert page.title() == 'walls' and overlays(page) == []
    drop(page, image)
    assert message(page, 'pixels').startswith('64 x 64 pixels. cracks, rust: ')
    page.locator('.overlay img').nth(1).wait_for(timeout=SOON)
    assert overlays(page) == ['what cracks predicts', 'what rust predicts']
    boxes = [shown.bounding_box() for shown in page.locator('.overlay img').all()]
    assert boxes[0]['y'] == boxes[1]['y'] and boxes[0]['width'] > 300  # enlarged, side by side
    colors = page.locator('.swatch').evaluate_all(
        'all => all.map(one => getComputedStyle(one).backgroundColor)'
    )
    assert len(colors) >= 3 and 'rgb(31, 119, 180)' in colors
    page.get_by_label('cracks').uncheck()
    assert 'cracks' not in message(page, '64 x 64 pixels. rust: ')
    assert overlays(page) == ['what rust predicts']


def test_errors_are_shown_and_the_next_image_works(page: Any, image: Path, tmp_path: Path) -> None:
    text, large = tmp_path / 'text.png', tmp_path / 'large.png'
    text.write_text('no image')
    Image.new('RGB', (3000, 2000)).save(large)
    heavy = tmp_path / 'heavy.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)).save(heavy)
    drop(page, text)
    assert '\n' not in message(page, 'text.png: is not an image')
    color = page.locator('.mmq p.error').evaluate('line => getComputedStyle(line).color')
    assert color == 'rgb(185, 28, 28)'
    page.reload()
    drop(page, large)
    message(page, 'large.png: has 3000 x 2000 pixels: expected at most 4 megapixels')
    page.reload()
    drop(page, heavy)
    page.get_by_text('exceed the maximum allowed size of 1').first.wait_for(timeout=SOON)
    page.reload()
    drop(page, image)
    message(page, '64 x 64 pixels.')


def test_a_picture_of_the_camera_is_predicted(page: Any) -> None:
    page.get_by_label('Capture from camera').click()
    page.get_by_text('Click to Access Webcam').click()
    page.wait_for_function("document.querySelector('video')?.videoWidth > 0", timeout=SOON)
    page.get_by_label('capture photo').first.click(timeout=SOON)
    size = re.match(r'(\d+) x (\d+) pixels\. cracks, rust: ', message(page, 'pixels'))
    assert size is not None and int(size[1]) >= 320 and int(size[2]) >= 240


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Any, image: Path) -> None:
    page.set_viewport_size({'width': 390, 'height': 844})
    drop(page, image)
    message(page, 'pixels')
    page.locator('.overlay img').nth(1).wait_for(timeout=SOON)
    assert page.evaluate('document.documentElement.scrollWidth') == 390
    boxes = [shown.bounding_box() for shown in page.locator('.overlay img').all()]
    assert boxes[0]['x'] == boxes[1]['x'] and boxes[0]['y'] < boxes[1]['y']
