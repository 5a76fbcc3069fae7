from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmqadapter.engine.class_names import check_class_names, config_classes, require_class_names


def config(classes: Any, split: str = 'train') -> Config:
    leaf = dict(type='BaseSegDataset', metainfo=dict(classes=classes))
    return Config({f'{split}_dataloader': dict(dataset=dict(type='RepeatDataset', dataset=leaf))})


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('leaf', r"classes='leaf' is invalid: give a tuple of names, a single one with a comma"),
        ((), r'classes=\(\) is invalid'),
        ([], r'classes=\[\] is invalid'),
        (5, 'classes=5 is invalid'),
        ((('leaf', 'spot'),), r"holds \('leaf', 'spot'\), which is not a name"),
        (('leaf', ''), "holds '', which is not a name"),
        (('leaf', 3), 'holds 3, which is not a name'),
        (('leaf', 'spot', 'leaf'), "holds 'leaf' twice"),
    ],
)
@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_classes_that_are_not_a_list_of_names(classes: Any, message: str, split: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_class_names(classes)
    with pytest.raises(ValueError, match=f'{split}_dataloader: metainfo.*{message}'):
        require_class_names(config(classes, split))


def test_class_names_that_are_right(tmp_path: Path) -> None:
    names = tmp_path / 'classes.txt'
    names.write_text('leaf\nspot\n')
    for classes in (('leaf', 'spot'), ['leaf', 'spot'], str(names)):
        assert list(config_classes(config(classes), 'train')) == [('leaf', 'spot')]
    assert list(config_classes(Config(dict(train_dataloader=None)), 'train')) == []
    require_class_names(config(None))
