from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmqadapter.engine.data_classes import check_classes, class_list_fault

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')


def leaf(classes: Any = ('leaf', 'spot'), **metainfo: Any) -> dict:
    return dict(type='CocoDataset', metainfo=dict(classes=classes, **metainfo))


def joined(*datasets: dict, **changes: Any) -> dict:
    return dict(type='ConcatDataset', datasets=list(datasets)) | changes


def config(dataset: dict, split: str = 'train', scope: str = 'mmdet') -> Config:
    return Config({'default_scope': scope, f'{split}_dataloader': dict(dataset=dataset)})


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('leaf', r"classes='leaf' is invalid: .* a single one with a comma: \('leaf',\)"),
        (None, 'give a tuple of names'),
        ((), 'give a tuple of names'),
        ({'leaf': 1}, 'give a tuple of names'),
        (('leaf', 2), 'each name must be a string'),
        (('leaf', 'spot', 'leaf'), "'leaf' occurs twice"),
        (('leaf',), '^$'),
        (['leaf', 'spot'], '^$'),
    ],
)
def test_a_wrong_list_of_classes_says_why(classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raise ValueError(class_list_fault(classes))


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
@pytest.mark.parametrize(
    ('kind', 'scope'), [('CocoDataset', 'mmdet'), ('CityscapesDataset', 'mmseg')]
)
def test_a_missing_comma_is_refused_in_each_split(split: str, kind: str, scope: str) -> None:
    data = dict(type='RepeatDataset', times=2, dataset=leaf('leaf') | dict(type=kind))
    with pytest.raises(ValueError, match=f"classes='leaf' is invalid.*the {split} dataset"):
        check_classes(config(data, split, scope))


def test_classes_of_the_type_or_a_file_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / 'classes.txt'
    file.write_text('leaf\nspot\n')
    check_classes(config(leaf(str(file))))
    check_classes(config(dict(type='CocoDataset')))
    check_classes(config(dict(type='BaseSegDataset'), scope='mmseg'))  # none: nothing to check
    check_classes(Config(dict(model=dict())))


@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: dict(type='RepeatDataset', dataset=x)])
@pytest.mark.parametrize(
    ('other', 'message'),
    [
        (('spot', 'leaf'), "class 0 of joined dataset 1 is 'spot', of dataset 0 'leaf'"),
        (('leaf',), "class 1 of joined dataset 1 is None, of dataset 0 'spot'"),
        (('leaf', 'spot', 'stem'), "class 2 of joined dataset 1 is 'stem', of dataset 0 None"),
    ],
)
def test_joined_datasets_with_other_classes_are_refused(
    wrap: Any, other: tuple, message: str
) -> None:
    data = dict(type='mmqadapter.SeededDataset', dataset=wrap(joined(leaf(), leaf(other))))
    with pytest.raises(ValueError, match=message):
        check_classes(config(data))


def test_joined_datasets_may_differ_in_their_colors() -> None:
    check_classes(config(joined(leaf(), leaf(palette=[(255, 0, 0), (0, 255, 0)]))))


def test_what_mmengine_refuses_to_join_is_named_with_the_remedy() -> None:
    palettes = [[[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 7]]]
    data = [leaf(palette=colors) | dict(type='BaseSegDataset') for colors in palettes]
    with pytest.raises(ValueError, match=r'ConcatDataset joins differ in palette .*ignore_keys'):
        check_classes(config(joined(*data), scope='mmseg'))
    check_classes(config(joined(*data, ignore_keys=['palette']), scope='mmseg'))


def test_open_vocabulary_datasets_may_have_classes_of_their_own() -> None:
    data = [leaf(names) | dict(return_classes=True) for names in (('leaf',), ('spot', 'stem'))]
    check_classes(config(joined(*data), 'val'))


def test_the_classes_of_another_split_in_another_order_are_refused() -> None:
    cfg = config(leaf(('leaf', 'spot')))
    cfg.val_dataloader = dict(dataset=leaf(('leaf', 'spot')))
    check_classes(cfg)
    cfg.val_dataloader = dict(dataset=leaf(('spot', 'leaf')))
    with pytest.raises(ValueError, match='the val dataset are those of the train dataset in anot'):
        check_classes(cfg)
    cfg.val_dataloader = dict(dataset=leaf(('leaf', 'other')))
    check_classes(cfg)  # other names: check-data says so, and scores of common ones may be wanted
