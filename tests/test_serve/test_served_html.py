"""Texts and tables of the page; what files and users say cannot become markup."""

from __future__ import annotations

import re

import pytest

from mmqadapter.serve.class_rows import ClassRow
from mmqadapter.serve.html import (
    answer_html,
    error_html,
    heading_html,
    note_html,
    rows_html,
    tasks_html,
    weight,
)
from mmqadapter.serve.predictor import Answer, Predictor

EVIL = '<img src=x onerror=alert(1)>"\''


def cells(html: str) -> list[str]:
    return [re.sub('<[^>]*>', '', cell) for cell in re.findall(r'<t[hd].*?</t[hd]>', html)]


def test_a_label_map_shows_shares_and_scores_with_the_colors() -> None:
    html = rows_html([ClassRow('sky', (1, 2, 3), 0.876, 0.25), ClassRow('car', (4, 5, 6), 1, 0.75)])
    assert cells(html) == [
        *('class', 'area', 'mean score'), *('sky', '25.0 %', '0.88'), *('car', '75.0 %', '1.00'),
    ]  # fmt: skip
    assert re.findall(r'rgb\([\d, ]+\)', html) == ['rgb(1, 2, 3)', 'rgb(4, 5, 6)']


def test_instances_show_counts_and_boxes_no_area() -> None:
    assert cells(rows_html([ClassRow('nut', (1, 2, 3), 0.5, 0.1, 7)])) == [
        *('class', 'instances', 'area', 'mean score'), *('nut', '7', '10.0 %', '0.50'),
    ]  # fmt: skip
    assert cells(rows_html([ClassRow('nut', (1, 2, 3), 0.5, None, 7)])) == [
        *('class', 'instances', 'mean score'), *('nut', '7', '0.50'),
    ]  # fmt: skip


def test_a_label_map_without_scores_shows_shares() -> None:
    html = rows_html([ClassRow('sky', (1, 2, 3), None, 1.0)])
    assert cells(html) == ['class', 'area', 'sky', '100.0 %']


@pytest.mark.parametrize(
    ('share', 'text'), [(0.0009, '&lt; 0.1 %'), (0.001, '0.1 %'), (0.0, '0.0 %')]
)
def test_a_small_share_is_not_shown_as_none(share: float, text: str) -> None:
    assert cells(rows_html([ClassRow('sky', (1, 2, 3), None, share)]))[-1] == text


def test_no_rows_say_so() -> None:
    assert 'Nothing was found' in rows_html([])


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        ({('a', 'b'): 0.25}, '8 x 6 pixels. a, b: 250 ms (the backbone ran once).'),
        ({('a',): 0.02, ('b',): 3.14}, '8 x 6 pixels. a: 20 ms; b: 3.1 s.'),
    ],
)
def test_times_by_task(seconds: dict, text: str) -> None:
    assert text in answer_html(Answer((8, 6), seconds, {}))


@pytest.mark.parametrize('function', [error_html, note_html, heading_html])
def test_texts_are_escaped(function) -> None:
    assert '<img' not in function(EVIL) and '&lt;img' in function(EVIL)


def test_names_are_escaped(highway: Predictor) -> None:
    assert '<img' not in rows_html([ClassRow(EVIL, (0, 0, 0), 1.0, 1.0)])
    assert '<img' not in answer_html(Answer((8, 6), {(EVIL,): 1.0}, {}))
    highway.refused[EVIL] = EVIL
    assert '<img' not in tasks_html(highway)


def test_what_tasks_share_and_why_a_file_is_refused(highway: Predictor) -> None:
    highway.refused['odd'] = 'it belongs to another trunk.'
    text = ' '.join(re.sub('<[^>]*>', '', tasks_html(highway)).split())
    assert text == (
        f'All tasks share one frozen backbone of {weight(highway.trunk_nbytes)} on cpu; it runs '
        'once for all of them. odd cannot be used: it belongs to another trunk.'
    )


def test_weights() -> None:
    assert [weight(n) for n in (512, 999_000, 4_374_636)] == ['1 kB', '999 kB', '4.4 MB']
