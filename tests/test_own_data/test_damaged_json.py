"""JSON files that are damaged or incomplete are refused; those of other kinds are told apart."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import annotation_writers as writers
import pytest

from mmqadapter.own_data.formats import read_folder

NAN = float('nan')


def two_files(root: Path) -> Path:
    """Write COCO files of two splits; return that of the training."""
    for split in ('train', 'val'):
        writers.coco(root / split)
    return root / 'train' / 'annotations.json'


def without(key: str) -> Callable[[str], str]:
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != key})


DAMAGES: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text[:300], 'cannot be read as JSON (.*): it is damaged or cut off; restore it'),
    (lambda text: '', 'is empty: expected JSON; restore it, or move it out of the folder.'),
    (without('categories'), "lacks the list 'categories': expected the lists images, annotations"),
    (without('annotations'), "lacks the list 'annotations': expected"),
    (lambda text: text.replace('"images": [', '"images": {}, "x": ['), 'has images={}, not a list'),
]


@pytest.mark.parametrize(('damage', 'message'), DAMAGES)
@pytest.mark.parametrize('alone', [False, True])
def test_a_damaged_coco_file_is_refused(
    tmp_path: Path, damage: Callable, message: str, alone: bool
) -> None:
    file = two_files(tmp_path)
    file.write_text(damage(file.read_text()))
    if alone:
        (tmp_path / 'val' / 'annotations.json').unlink()
    text = re.escape(repr(str(file))) + ' ' + re.escape(message).replace(r'\.\*', '.*')
    with pytest.raises(ValueError, match=text):
        read_folder(tmp_path)


def test_other_kinds_of_json_beside_coco_files(tmp_path: Path) -> None:
    two_files(tmp_path)
    for name, content in {
        'meta': {'version': 3}, 'list': [1, 2], 'notes': {'categories': [], 'info': {}},
        'shapes': {'shapes': [], 'images': []},
        'captions_train2017': {'images': [{}], 'annotations': [{'id': 1, 'caption': 'a cat'}]},
        'image_info_test2017': {'images': [{}], 'categories': [{}]},
    }.items():  # fmt: skip
        (tmp_path / 'train' / f'{name}.json').write_text(json.dumps(content))
    assert set(read_folder(tmp_path, 'coco').splits) == {'train', 'val'}


@pytest.mark.parametrize(
    ('name', 'file'),
    [('labelme', 'b.json'), ('supervisely', 'meta.json'), ('supervisely', 'ds0/ann/a.png.json')],
)
def test_damaged_files_of_other_formats_are_refused(tmp_path: Path, name: str, file: str) -> None:
    getattr(writers, name)(tmp_path)
    (tmp_path / file).write_text((tmp_path / file).read_text()[:-9])
    with pytest.raises(ValueError, match=f'{file}. cannot be read as JSON'):
        read_folder(tmp_path, name)


def test_json_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    writers.coco(tmp_path)
    (tmp_path / 'annotations.json').write_text('[' * 100_000)
    with pytest.raises(ValueError, match=r'annotations.json. cannot be read as JSON .*recursion'):
        read_folder(tmp_path)


def test_a_byte_order_mark_in_a_list_of_names(tmp_path: Path) -> None:
    writers.label_maps(tmp_path)
    (tmp_path / 'classes.txt').write_text('back\nleaf\nspot\n', 'utf-8-sig')
    assert read_folder(tmp_path).classes == ('back', 'leaf', 'spot')
    (tmp_path / 'classes.txt').write_text('R\xfcckseite', 'latin-1')
    with pytest.raises(ValueError, match=r'classes.txt. is not text in UTF-8 .*; store it so'):
        read_folder(tmp_path)


def test_a_damaged_file_elsewhere_is_left_to_the_format_that_is_found(tmp_path: Path) -> None:
    writers.yolo(tmp_path)
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'runs' / 'log.json').write_text('{"a": 1}\n{"a": 2}\n')
    assert len(read_folder(tmp_path).classes) == 2
    (tmp_path / 'annotations.json').write_text('{"images": [')
    with pytest.raises(ValueError, match=r'annotations.json. cannot be read as JSON'):
        read_folder(tmp_path)
    assert len(read_folder(tmp_path, 'yolo').classes) == 2


def set_entry(name: str, **values: Any) -> Callable[[dict], None]:
    return lambda content: content[name][0].update(values)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (set_entry('images', height=None), 'images[0] (id 1) has height=None: expected a number'),
        (set_entry('images', width=-1), 'images[0] (id 1) has width=-1: expected a number of pix'),
        (set_entry('images', width=NAN), 'images[0] (id 1) has width=nan: expected a number of'),
        (set_entry('images', width='64'), "images[0] (id 1) has width='64': expected a number"),
        (set_entry('annotations', id=7, bbox=[1, 2, None, 4]),
         'annotations[0] (id 7) has bbox=[1, 2, None, 4]: expected four numbers x, y, width'),
        (set_entry('annotations', bbox=['1', 2, 3, 4]), "(id 1) has bbox=['1', 2, 3, 4]: expected"),
        (set_entry('annotations', bbox=[1, 2]), '(id 1) has bbox=[1, 2]: expected four numbers'),
        (set_entry('annotations', bbox=None), '(id 1) has bbox=None: expected a list'),
        (set_entry('annotations', category_id=None),
         '(id 1) has category_id=None: expected a whole number or a text'),
        (set_entry('annotations', category_id='leaf'), "annotation 1 has category_id='leaf', whi"),
        (set_entry('annotations', image_id=[1]), '(id 1) has image_id=[1]: expected a whole'),
        (set_entry('annotations', segmentation=5), 'annotation 1 has segmentation=5: expected a'),
        (lambda c: c['annotations'].append('x'), "annotations[3] is 'x': expected an object with"),
    ],
)  # fmt: skip
def test_an_invalid_entry_is_named(
    tmp_path: Path, change: Callable[[dict], Any], message: str
) -> None:
    file = two_files(tmp_path)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f'{re.escape(str(file))}.*{re.escape(message)}'):
        read_folder(tmp_path)
