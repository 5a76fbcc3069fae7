"""Each format of annotations is read as its tool wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import annotation_writers as writers
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mmqadapter.own_data.formats import read_folder
from mmqadapter.own_data.samples import InstanceData, LabelMapData
from mmqadapter.own_data.split import train_and_val

OUTLINED = ('coco', 'yolo', 'labelme', 'cvat', 'supervisely')


def instances(root: Path) -> InstanceData:
    data = read_folder(root)
    assert isinstance(data, InstanceData)
    return data


def label_maps(root: Path, name: str | None = None) -> LabelMapData:
    data = read_folder(root, name)
    assert isinstance(data, LabelMapData)
    return data


@pytest.mark.parametrize('name', [*OUTLINED, 'voc'])
def test_boxes_and_classes(tmp_path: Path, name: str) -> None:
    getattr(writers, name)(tmp_path)
    data = instances(tmp_path)
    assert data.classes == writers.NAMES
    assert data.has_masks == (name != 'voc')
    (samples,) = data.splits.values()
    assert [sample.image.stem for sample in samples] == ['a', 'b']
    for sample in samples:
        assert sample.size == writers.SIZE
        expected = writers.OUTLINES[sample.image.stem]
        for instance, (label, outline) in zip(sample.instances, expected, strict=True):
            left, top, right, bottom = writers.box(outline)
            assert instance.label == label
            assert instance.box == pytest.approx((left, top, right - left, bottom - top), abs=0.01)


@pytest.mark.parametrize('name', OUTLINED)
def test_outlines(tmp_path: Path, name: str) -> None:
    getattr(writers, name)(tmp_path)
    first, second = instances(tmp_path).splits['all']
    for instance, (_, outline) in zip(first.instances, writers.OUTLINES['a'], strict=True):
        assert instance.polygons[0] == pytest.approx(outline, abs=0.01)
    (bottom,) = second.instances
    if name == 'supervisely':
        assert coco_mask.area(bottom.rle) == 20 * 28
    else:
        assert bottom.polygons[0] == pytest.approx(writers.OUTLINES['b'][0][1], abs=0.01)


def test_yolo_boxes(tmp_path: Path) -> None:
    writers.yolo(tmp_path, outlines=False)
    data = instances(tmp_path)
    assert not data.has_masks
    assert data.splits['all'][1].instances[0].box == pytest.approx((10, 12, 20, 28), abs=0.01)


def test_yolo_pixels_are_refused(tmp_path: Path) -> None:
    writers.yolo(tmp_path)
    (tmp_path / 'labels' / 'a.txt').write_text('0 12 20 8 8\n')
    with pytest.raises(ValueError, match=r'a.txt:1.*shares of width and height, from 0 to 1'):
        read_folder(tmp_path)


def test_yolo_class_without_a_name_is_refused(tmp_path: Path) -> None:
    writers.yolo(tmp_path)
    (tmp_path / 'labels' / 'a.txt').write_text('2 0.5 0.5 0.1 0.1\n')
    with pytest.raises(ValueError, match='expected a class number from 0 to 1'):
        read_folder(tmp_path)


def test_yolo_splits_of_an_export(tmp_path: Path) -> None:
    for split in ('train', 'valid'):
        writers.yolo(tmp_path / split)
    assert set(instances(tmp_path).splits) == {'train', 'val'}


def write_lists(root: Path, **names: str) -> None:
    lists = root / 'ImageSets' / 'Main'
    lists.mkdir(parents=True)
    for split, text in names.items():
        (lists / f'{split}.txt').write_text(text)


def test_voc_lists_of_the_splits(tmp_path: Path) -> None:
    writers.voc(tmp_path)
    write_lists(tmp_path, train='a\n', val='b\n')
    splits = instances(tmp_path).splits
    assert [sample.image.stem for sample in splits['val']] == ['b']


def test_voc_names_without_a_file_are_named(tmp_path: Path) -> None:
    writers.voc(tmp_path)
    write_lists(tmp_path, train='a\n', val='b\nc\nd\na\n')
    data = instances(tmp_path)
    assert data.notes == [
        "names in val.txt of ImageSets without an annotation file are left out (2), such as 'c'",
        "names in train.txt and val.txt are used for training (1): 'a'",
    ]
    _, _, sentence = train_and_val(data.splits, split_by=data.split_by)
    assert sentence == 'train and val as the lists of ImageSets say'


def test_images_of_no_split_are_counted(tmp_path: Path) -> None:
    for folder in ('train', 'val', 'extra', 'test'):
        writers.yolo(tmp_path / folder)
    _, _, sentence = train_and_val(instances(tmp_path).splits)
    assert sentence == 'train and val as the folders say; 2 images of no split are left out'


def test_labelme_parts_of_a_group_are_one_object(tmp_path: Path) -> None:
    writers.labelme(tmp_path)
    content = json.loads((tmp_path / 'a.json').read_text())
    for shape in content['shapes']:
        shape.update(label='leaf', group_id=7)
    content['shapes'].append({'label': 'leaf', 'shape_type': 'point', 'points': [[1, 1]]})
    (tmp_path / 'a.json').write_text(json.dumps(content))
    data = instances(tmp_path)
    (leaf,) = data.splits['all'][0].instances
    assert len(leaf.polygons) == 2
    assert leaf.box == (4, 4, 56, 26)
    assert data.notes == ['shapes of these types are skipped: point']


def test_cvat_mask(tmp_path: Path) -> None:
    writers.cvat(tmp_path)
    file = tmp_path / 'annotations.xml'
    mask = '<mask label="leaf" rle="1,2,3,2" left="5" top="6" width="4" height="2"/></image>'
    file.write_text(file.read_text().replace('</image>', mask, 1))
    instance = instances(tmp_path).splits['all'][0].instances[-1]
    decoded = coco_mask.decode(instance.rle)
    assert decoded[6:8, 5:9].tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]
    assert decoded.sum() == 4


def test_cvat_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    writers.cvat(tmp_path)
    file = tmp_path / 'annotations.xml'
    text = file.read_text().replace('label="spot"', 'label="leaf"')
    box = '<box label="leaf" xtl="0" ytl="0" xbr="9" ybr="9" group_id="3"/></image>'
    text = text.replace('<polygon', '<polygon group_id="3"').replace('</image>', box, 1)
    file.write_text(text)
    (leaf,) = instances(tmp_path).splits['all'][0].instances
    assert [len(outline) for outline in leaf.polygons] == [8, 6]
    assert leaf.box == (4, 4, 56, 26)


def test_coco_category_that_is_not_listed(tmp_path: Path) -> None:
    writers.coco(tmp_path)
    file = tmp_path / 'annotations.json'
    file.write_text(file.read_text().replace('"category_id": 20', '"category_id": 7'))
    with pytest.raises(ValueError, match=r'category_id=7, which is not among .* \[10, 20\]'):
        read_folder(tmp_path)


def test_incomplete_files_are_refused(tmp_path: Path) -> None:
    writers.coco(tmp_path)
    file = tmp_path / 'annotations.json'
    file.write_text(file.read_text().replace('"bbox"', '"box"'))
    with pytest.raises(ValueError, match=r'annotations\[0\] \(id 1\) lacks bbox \(3 such'):
        read_folder(tmp_path)


@pytest.mark.parametrize('suffix', ['.png', '_mask.png'])
def test_label_maps(tmp_path: Path, suffix: str) -> None:
    writers.label_maps(tmp_path, suffix=suffix)
    data = label_maps(tmp_path)
    assert data.numbers == {}
    assert data.classes == ('class_0', 'class_1', 'class_2')
    assert [pair.label_map.name for pair in data.splits['all']] == [f'a{suffix}', f'b{suffix}']


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    writers.label_maps(tmp_path, (0, 255, 255))
    data = label_maps(tmp_path)
    assert data.classes == ('background', 'object')
    assert data.numbers == {0: 0, 255: 1}


def test_colors(tmp_path: Path) -> None:
    writers.label_maps(tmp_path)
    for file in (tmp_path / 'annotations').iterdir():
        palette = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
        Image.fromarray(palette[np.asarray(Image.open(file))]).save(file)
    data = label_maps(tmp_path)
    assert data.numbers == {0: 0, 0x008000: 1, 0x800000: 2}
    assert data.classes == ('color_000000', 'color_008000', 'color_800000')


def test_smoothed_masks_are_refused(tmp_path: Path) -> None:
    writers.label_maps(tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / 'annotations' / 'a.png')
    with pytest.raises(ValueError, match='have 3074 values, 3072 of them only on edges'):
        read_folder(tmp_path)


def test_more_than_255_colors_are_refused(tmp_path: Path) -> None:
    writers.label_maps(tmp_path)
    numbers = np.kron(np.arange(256).reshape(16, 16), np.ones((3, 4), int))
    picture = np.stack([numbers, numbers * 0, numbers], 2).astype(np.uint8)
    for file in (tmp_path / 'annotations').iterdir():
        Image.fromarray(picture).save(file)
    with pytest.raises(ValueError, match='have 256 colors: expected at most 255, one per class'):
        read_folder(tmp_path)


def test_class_names_beside_label_maps(tmp_path: Path) -> None:
    writers.label_maps(tmp_path)
    (tmp_path / 'labelmap.txt').write_text('# label:color\nback:0,0,0::\nleaf:1::\nspot:2::\n')
    assert label_maps(tmp_path).classes == ('back', 'leaf', 'spot')


def test_several_formats(tmp_path: Path) -> None:
    writers.voc(tmp_path)
    writers.label_maps(tmp_path)
    with pytest.raises(
        ValueError, match='several formats: voc, label-maps. Choose one with --format'
    ):
        read_folder(tmp_path)
    assert label_maps(tmp_path, 'label-maps').classes[0] == 'class_0'


def test_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='no images with annotations that are known'):
        read_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match='is not a folder'):
        read_folder(tmp_path / 'absent')
