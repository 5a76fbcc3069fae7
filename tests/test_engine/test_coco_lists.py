"""A COCO file that mmdet would read wrongly is refused where it is read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.registry import DATASETS

from mmqadapter.engine.checked_pipeline import checked_dataloader
from mmqadapter.engine.data_error import DataError

pytest.importorskip('mmdet')

CONTENT: dict[str, list[dict[str, Any]]] = {
    'images': [dict(id=n, file_name=f'{n}.jpg', width=9, height=9) for n in range(3)],
    'annotations': [
        dict(id=n, image_id=n, category_id=n % 2 + 1, bbox=[1, 1, 4, 4], area=16, iscrowd=0)
        for n in range(3)
    ],
    'categories': [dict(id=1, name='box'), dict(id=2, name='dot')],
}
CLASSES = ('box', 'dot')


def load(folder: Path, content: dict, classes: tuple[str, ...] = CLASSES) -> Any:
    import mmqadapter  # noqa: F401, registers

    path = folder / 'instances.json'
    path.write_text(json.dumps(content))

    def build() -> Any:
        from types import SimpleNamespace

        dataset = DATASETS.build(
            dict(
                type='mmdet.CocoDataset', ann_file=str(path), metainfo=dict(classes=classes),
                data_prefix=dict(img=''), pipeline=[],
            )
        )  # fmt: skip
        return SimpleNamespace(dataset=dataset)

    return checked_dataloader(build).dataset


def test_a_sound_file_loads_and_mmdet_is_as_before(tmp_path: Path) -> None:
    from mmdet.datasets.api_wrappers import COCO

    before = COCO.createIndex, COCO.get_cat_ids
    assert len(load(tmp_path, CONTENT)) == 3
    assert (COCO.createIndex, COCO.get_cat_ids) == before


def test_a_category_that_is_no_class_is_fine(tmp_path: Path) -> None:
    assert len(load(tmp_path, CONTENT, ('dot',))) == 3


FAULTS: dict[str, tuple[Callable[[dict], Any], str]] = {
    'duplicate image': (
        lambda c: c['images'][1].update(id=0),
        'images: id 0 occurs 2 times',
    ),
    'duplicate annotation': (
        lambda c: c['annotations'][1].update(id=0),
        'annotations: id 0 occurs 2 times',
    ),
    'lost image': (
        lambda c: c['annotations'][2].update(image_id=77),
        'annotation 2: image_id 77 is not among the images',
    ),
    'unknown category': (
        lambda c: c['annotations'][2].update(category_id=0),
        'annotation 2: category_id 0 is not among the categories',
    ),
    'NaN': (
        lambda c: c['annotations'][1].update(bbox=[float('nan'), 1, 2, 2]),
        r'annotation 1: bbox \[nan, 1, 2, 2\] is not four finite numbers',
    ),
    'run lengths of another image': (
        lambda c: c['annotations'][1].update(segmentation=dict(size=[5, 6], counts=[30])),
        r'annotation 1: the mask is for an image of \[5, 6\] .*, its image has \[9, 9\]',
    ),
    'order': (
        lambda c: c['categories'].reverse(),
        r"the order of the file is \['dot', 'box'\], that of the config \['box', 'dot'\]",
    ),
    'twice': (
        lambda c: c['categories'].append(dict(id=3, name='dot')),
        "2 categories are called 'dot'",
    ),
    'none': (
        lambda c: c['categories'][0].update(name='Box'),
        "class 'box' is not a category of the file",
    ),
}


@pytest.mark.parametrize('kind', FAULTS)
def test_what_mmdet_reads_wrongly_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    content = copy.deepcopy(CONTENT)
    break_content, text = FAULTS[kind]
    break_content(content)
    with pytest.raises(DataError, match=f'instances.json: {text}.*; run `mmqadapter check-data'):
        load(tmp_path, content)
