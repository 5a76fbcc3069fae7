"""The page in a real Chromium; skipped where none is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group('browser')
NAMES = ('chromium', 'chromium-browser', 'google-chrome')
PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip('playwright.sync_api', reason='needs playwright')
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f'needs a browser: none of {", ".join(NAMES)} is installed')
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=['--no-sandbox'])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, written: Path) -> Iterator[Callable[..., Any]]:
    """``open_page(size, scheme)``: the report; finally checks for requests and console messages."""
    requests: list[str] = []
    messages: list[str] = []

    def open_at(size: tuple[int, int] = DESKTOP, scheme: str = 'light') -> Any:
        page = browser.new_page(viewport={'width': size[0], 'height': size[1]}, color_scheme=scheme)
        page.on('request', lambda request: requests.append(request.url))
        page.on('console', lambda message: messages.append(message.text))
        page.on('pageerror', lambda error: messages.append(str(error)))
        page.goto((written / 'report.html').as_uri())
        return page

    yield open_at
    assert requests and all(url.startswith('file:') for url in requests)
    assert not messages


def methods(page: Any) -> list[str]:
    return [text.split()[-1] for text in page.locator('tbody th').all_inner_texts()]


def test_a_click_sorts_and_a_second_one_reverses_the_order(open_page) -> None:
    page = open_page()
    memory = page.get_by_role('button', name='memory, MB')
    ascending = ['frozen', 'partial1', 'highway@1', 'adaptformer', 'full']
    memory.click()
    assert methods(page) == [*ascending, 'mona']  # unknown values last
    assert page.locator('th[aria-sort]').get_attribute('aria-sort') == 'ascending'
    memory.click()
    assert methods(page) == [*reversed(ascending), 'mona']
    page.get_by_role('button', name='method', exact=True).click()
    assert methods(page) == sorted([*ascending, 'mona'])
    page.keyboard.press('Enter')  # on the focused heading
    assert methods(page) == sorted([*ascending, 'mona'], reverse=True)


def test_on_a_phone_the_table_scrolls_and_the_page_does_not(open_page) -> None:
    page = open_page(PHONE)
    assert page.evaluate('document.documentElement.scrollWidth') == PHONE[0]
    table = page.locator('.scroll').first
    assert table.evaluate('box => box.scrollWidth > box.clientWidth + 100')
    table.evaluate('box => box.scrollTo(300, 0)')
    first = page.locator('tbody th').first.bounding_box()
    assert first['x'] >= 0  # the first column is sticky
    plots = [plot.bounding_box() for plot in page.locator('figure').all()]
    assert len({plot['x'] for plot in plots}) == 1  # in one column
    assert all(plot['x'] + plot['width'] <= PHONE[0] for plot in plots)
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')]"
        '.map(text => text.getBoundingClientRect().height))'
    )
    assert smallest >= 8


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_colors_follow_the_system(open_page, scheme: str) -> None:
    page = open_page(scheme=scheme)
    paper = page.locator('body').evaluate('body => getComputedStyle(body).backgroundColor')
    ink = page.locator('svg text').first.evaluate('text => getComputedStyle(text).fill')
    assert (brightness(paper) > 200) == (scheme == 'light')
    assert abs(brightness(paper) - brightness(ink)) > 150


def brightness(color: str) -> float:
    """Mean of the channels of ``rgb(r, g, b)``."""
    channels = color[color.index('(') + 1 : -1].split(',')[:3]
    return sum(map(float, channels)) / 3


def test_a_click_in_the_legend_hides_the_other_methods(open_page) -> None:
    page = open_page()
    button = page.get_by_role('button', name='highway@1')

    def opacity(number: int) -> float:
        group = page.locator(f'svg g.series-{number}').first
        return float(group.evaluate('group => getComputedStyle(group).opacity'))

    button.click()
    page.wait_for_function(
        "getComputedStyle(document.querySelector('svg g.series-0')).opacity < 0.2"
    )
    assert opacity(5) == 1 and button.get_attribute('aria-pressed') == 'true'
    button.click()
    page.wait_for_function(
        "getComputedStyle(document.querySelector('svg g.series-0')).opacity == 1"
    )
    assert button.get_attribute('aria-pressed') == 'false'
