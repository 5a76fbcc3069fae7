"""Content of the page, without a browser."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from reports import HEADER, make_report

from mmqadapter.studies.benchmark.table import cells
from mmqadapter.studies.report.drawing import series_of
from mmqadapter.studies.report.page import Page, Samples, header_texts, render_page


class Reader(HTMLParser):
    """Parser that collects tags, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(written: Path) -> Reader:
    return Reader((written / 'report.html').read_text())


def test_the_page_refers_to_no_other_file(page: Reader) -> None:
    for _, attributes in page.tags:
        assert not attributes.keys() & {'src', 'href'}
        assert (attributes.get('xlink:href') or '#').startswith('#')
    assert not any('@import' in text or re.search(r'url\((?!#)', text) for text in page.texts)
    assert not page.of('link') and len(page.of('svg')) == 4


def test_ids_are_unique(page: Reader) -> None:
    named = [(tag, attributes['id']) for tag, attributes in page.tags if 'id' in attributes]
    assert named and {tag for tag, _ in named} <= {'clippath', 'path'}
    assert len({name for _, name in named}) == len(named)


def test_cells_have_a_text_and_a_value_to_sort_by(page: Reader) -> None:
    assert len(page.of('tr')) == 7
    names = [th['data-value'] for th in page.of('th') if 'data-value' in th]
    assert names == ['full', 'frozen', 'partial1', 'adaptformer', 'mona', 'highway@1']
    values = [td['data-value'] for td in page.of('td')]
    assert '1400.0' in values and '1,400' in page.texts
    assert '' in values and '-' in page.texts and 'out of memory' in page.texts


def test_environment_command_and_names_are_escaped(page: Reader) -> None:
    assert 'Cost of tuning methods: net_<b>.py' in page.texts
    assert HEADER['command'] in page.texts
    assert 'torch 2.11.0' in page.texts
    assert not page.of('b')


def test_a_method_looks_the_same_in_table_legend_and_plots(page: Reader) -> None:
    (button,) = (b for b in page.of('button') if b.get('data-series') == 'series-5')
    groups = [group for group in page.of('g') if group.get('class') == 'series-5']
    assert button['aria-pressed'] == 'false' and len(groups) >= 3
    assert sum('color: #94802a' in (span.get('style') or '') for span in page.of('span')) == 2


def test_plots_have_the_colors_of_the_page(written: Path) -> None:
    text, file = (written / 'report.html').read_text(), (written / 'memory.svg').read_text()
    drawing = text[text.index('<svg') : text.rindex('</svg>')]
    assert 'currentColor' in drawing and '#1c2024' not in drawing and '#ffffff' not in drawing
    assert '#1c2024' in file and '#ffffff' in file


def test_pictures_are_embedded_and_a_missing_one_is_a_dash() -> None:
    file = io.BytesIO()
    Image.new('RGB', (3, 2)).save(file, 'WEBP')
    samples = Samples(
        ['ground truth', 'full'], [('1.jpg', [file.getvalue(), None])], [('sky', '#00ff00')]
    )
    rows, series = make_report()['rows'][:1], series_of(['full'])
    content = Page('title', {}, 'command', cells(rows), 'legend', series, {}, samples)
    page = Reader(render_page(content))
    (image,) = page.of('img')
    assert image['alt'] == '1.jpg: ground truth'
    assert (image['src'] or '').startswith('data:image/webp;base64,UklGR')
    assert '-' in page.texts and 'sky' in page.texts


def test_header_texts_leave_out_unknown_values() -> None:
    header = {'a_b': [1, 2], 'c': None, 'd': {'e': 1, 'f': None}, 'g': 'h', 'i': []}
    assert header_texts(header, exclude=('g',)) == {'a b': '1, 2', 'd': 'e 1'}
