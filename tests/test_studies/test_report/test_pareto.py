from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from mmqadapter.studies.report.drawing import series_of
from mmqadapter.studies.report.pareto import draw_pareto, pareto_front

POINTS = {'a': (1.0, 50.0), 'b': (2.0, 60.0), 'c': (3.0, 55.0), 'd': (4.0, 70.0), 'e': (2.0, 40.0)}


def test_no_point_dominates_the_front() -> None:
    assert pareto_front(POINTS, highest=True) == ['a', 'b', 'd']
    assert pareto_front(POINTS, highest=False) == ['a', 'e']
    assert pareto_front({'x': (1.0, 5.0), 'y': (1.0, 5.0)}, highest=True) == ['x']
    assert pareto_front({}, highest=True) == []


def draw(**options) -> Figure:
    return draw_pareto(POINTS, series_of(list(POINTS)), ('cost', 'score'), **options)


def test_the_line_is_the_front_without_excluded_points() -> None:
    def front(figure: Figure) -> list[float]:
        lines = [line for line in figure.axes[0].lines if line.get_linestyle() == '--']
        return list(lines[0].get_xdata())

    assert front(draw(highest=True)) == [1, 2, 4]
    assert front(draw(highest=True, exclude=('d',))) == [1, 2]


@pytest.mark.parametrize('name', ['method', 'a-method-of-long-name'])
def test_labels_touch_neither_each_other_nor_a_point(name: str) -> None:
    crowd = {f'{name}-{n}': (100 + n % 4, 50 + n // 4 * 0.5) for n in range(16)}
    figure = draw_pareto(crowd, series_of(list(crowd)), ('cost', 'score'), highest=True)
    figure.canvas.draw()
    labels = figure.axes[0].texts
    boxes = [label.get_window_extent() for label in labels]
    assert 2 <= len(labels) < len(crowd)
    legend = figure.legends[0]
    assert {text.get_text() for text in [*labels, *legend.get_texts()]} == crowd.keys()
    assert not legend.get_window_extent().overlaps(figure.axes[0].get_tightbbox())
    assert 0 <= legend.get_window_extent().x0 and legend.get_window_extent().x1 <= figure.bbox.width
    for number, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[number + 1 :])
        assert not any(box.contains(*figure.axes[0].transData.transform(p)) for p in crowd.values())


def test_costs_of_different_magnitudes_get_a_logarithmic_axis() -> None:
    assert draw(highest=True).axes[0].get_xscale() == 'linear'
    wide = {'a': (1.0, 1.0), 'b': (400.0, 2.0)}
    figure = draw_pareto(wide, series_of(['a', 'b']), ('cost', 'score'), highest=True)
    assert figure.axes[0].get_xscale() == 'log'


def test_equal_costs_are_inside_the_axes() -> None:
    points = {'a': (4.0, 1.0), 'b': (4.0, 2.0)}
    figure = draw_pareto(points, series_of([*points]), ('MB', 'score'), highest=True)
    left, right = figure.axes[0].get_xlim()
    assert left == 0 and 0.8 < 4 / right < 0.95


def test_methods_differ_in_color_or_marker() -> None:
    looks = series_of([str(number) for number in range(40)]).values()
    assert len({(look.color, look.marker) for look in looks}) == 40
