"""Faults of annotation files are refused as stored, before anything is converted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import annotation_writers as writers
import pytest
from PIL import Image

from mmqadapter.cli.new import main
from mmqadapter.own_data import Choices, new_config
from mmqadapter.own_data.originals import FaultyAnnotationsError

CHOICES = Choices(iterations=20, batch=2)
NAN = float('nan')
CORNERS = [[4, 4, 24, 20], [40, 10, 60, 30], [10, 12, 30, 40], [20, 20, 60, 44]]
VOC_A = 'Annotations/a.xml'


def run(root: Path) -> list[str]:
    """Convert the data; return the notes."""
    return new_config(root, root.parent / 'task.py', CHOICES).notes


def refused(root: Path) -> str:
    """Return the error, after a check that nothing was written."""
    before = sorted(root.parent.rglob('*'))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        run(root)
    assert sorted(root.parent.rglob('*')) == before
    return str(caught.value)


def edit_json(file: Path, change: Callable[[dict], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def coco(tmp_path: Path, change: Callable[[dict], Any]) -> Path:
    root = tmp_path / 'data'
    writers.coco(root)
    edit_json(root / 'annotations.json', change)
    return root


def annotation(number: int = 0, **changes: Any) -> Callable[[dict], Any]:
    return lambda content: content['annotations'][number].update(changes)


def each(key: str, values: list) -> Callable[[dict], Any]:
    """Give each annotation a box or the like, without masks; repeat annotations as needed."""

    def change(content: dict) -> None:
        entries = [dict(content['annotations'][0], segmentation=[], area=1.0) for _ in values]
        for number, (entry, value) in enumerate(zip(entries, values, strict=True)):
            entry.update({'id': number, key: value})
        content['annotations'] = entries

    return change


@pytest.mark.parametrize(
    ('change', 'line'),
    [
        (
            lambda c: c['images'][1].update(id=1),
            'duplicate id: annotations.json: images: id 1 occurs 2 times; number them anew',
        ),
        (
            lambda c: c['images'][1].update(file_name='a.png'),
            'duplicate file: annotations.json: a.png: 2 images have this file_name (ids [1, 2]): '
            'each trains without the instances of the others; join them',
        ),
        (
            annotation(image_id=77),
            'annotation without image: annotations.json: annotation 1: image_id 77 is not among '
            'the images; add the image or remove the annotation',
        ),
        (
            annotation(image_id='1'),
            "annotation without image: annotations.json: annotation 1: image_id '1' is not among "
            'the images; add the image or remove the annotation',
        ),
        (
            annotation(bbox=[NAN, 4, 20, 16]),
            'degenerate box: annotations.json: annotation 1 of a.png: bbox [nan, 4, 20, 16] is not '
            'four finite numbers (x, y, width, height); correct or remove it',
        ),
        (
            annotation(bbox=[40, 40, -20, -20]),
            'degenerate box: annotations.json: annotation 1 of a.png: bbox [40, 40, -20, -20] is '
            'narrower than one pixel; correct or remove it',
        ),
        (
            annotation(segmentation=[[4, 4, NAN, 4, 24, 20]]),
            'unusable mask: annotations.json: annotation 1 of a.png: the mask does not decode: a '
            'polygon has coordinates that are not finite or far outside the image; correct or '
            'remove it',
        ),
        (
            each('bbox', CORNERS),
            'box form: annotations.json: the boxes look like x1, y1, x2, y2 (else 3 of 4 reach out '
            'of their images): COCO stores x, y, width, height in pixels; write '
            '[x1, y1, x2 - x1, y2 - y1]',
        ),
        (
            each('bbox', [[0.1, 0.1, 0.5, 0.5]] * 2),
            'box form: annotations.json: all 2 boxes lie between 0 and 1: COCO stores x, y, width, '
            'height in pixels; multiply them by width and height of the image',
        ),
        (
            lambda c: c['images'][0].update(width=640, height=480),
            'size mismatch: annotations.json: a.png: the file is 64 x 48 pixels, its entry says '
            '640 x 480; correct the size, or put back the image that was annotated',
        ),
        (
            lambda c: c['categories'][1].update(name='leaf'),
            "duplicate category: annotations.json: 2 categories are called 'leaf'; rename or join "
            'them',
        ),
    ],
)
def test_coco(tmp_path: Path, change: Callable, line: str) -> None:
    assert line in refused(coco(tmp_path, change)).split('\n')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (5, 'categories[0] (id 10) has name=5: expected a text'),
        (' ', "has the class name ' ': expected a text; name the class."),
    ],
)
@pytest.mark.parametrize('splits', [('',), ('train', 'val')])
def test_coco_category_names(tmp_path: Path, name: Any, message: str, splits: tuple) -> None:
    root = tmp_path / 'data'
    for split in splits:
        writers.coco(root / split)
        rename = root / split / 'annotations.json'
        edit_json(rename, lambda content: content['categories'][0].update(name=name))
    error = refused(root)
    assert message in error
    assert str(root / splits[0] / 'annotations.json') in error


def test_what_the_conversion_mends_is_noted(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        content['annotations'][1].update(id=1)
        content['annotations'][2].update(bbox=[10, 12, 20, 40])
        content['annotations'][0].pop('area')

    assert run(coco(tmp_path, change)) == [
        'box beyond image (1; converted boxes are cut at the border), such as annotations.json: '
        'annotation 3 of b.png: bbox [10, 12, 20, 40] reaches out of the 64 x 48 image',
        'duplicate annotation id (1; converted annotations are numbered anew), such as '
        'annotations.json: annotations: id 1 occurs 2 times; number them anew',
    ]


def test_valid_files_get_no_note(tmp_path: Path) -> None:
    assert run(coco(tmp_path, lambda content: None)) == []


@pytest.mark.parametrize(
    ('name', 'file', 'old', 'new', 'message'),
    [
        ('voc', VOC_A, '<size />', '<size><width>640</width><height>48</height></size>',
         'size mismatch: Pascal VOC: JPEGImages/a.png in Annotations/a.xml: the file is 64 x 48 '
         'pixels, its entry says 640 x 48; correct the size'),
        ('voc', VOC_A, '<name>leaf</name>', '<name> </name>',
         "a.xml' has the class name '': expected a text; name the class."),
        ('voc', VOC_A, '<xmin>4<', '<xmin>nan<',
         'degenerate box: Pascal VOC: annotation 1 of JPEGImages/a.png in Annotations/a.xml: bbox '
         '[nan, 4.0, nan, 16.0] is not four finite numbers'),
        ('voc', VOC_A, '<xmin>4<', '<xmin>30<', 'bbox [30.0, 4.0, -6.0, 16.0] is narrower'),
        ('voc', VOC_A, '</bndbox>', '</bndbox><polygon><x1>1</x1><y1>b</y1></polygon>',
         "a.xml' holds an object of another form (ValueError: could not convert string to float"),
        ('labelme', 'a.json', '"imageData"', '"imageWidth": 64, "imageHeight": 480, "imageData"',
         'size mismatch: labelme: a.png in a.json: the file is 64 x 48 pixels, its entry says '
         '64 x 480; correct the size'),
        ('labelme', 'a.json', '"leaf"', '5', "a.json' has the class name 5: expected a text"),
        ('labelme', 'a.json', '"leaf"', '""', "a.json' has the class name ''"),
        ('labelme', 'a.json', '[24, 4]', '[NaN, 4]', 'unusable mask: labelme: annotation 1 of '
         'a.png in a.json: the mask does not decode'),
        ('labelme', 'a.json', '[[4, 4], [24, 4], [24, 20], [4, 20]]', '[[4]]',
         "a.json' holds an object of another form (ValueError: not enough values"),
        ('labelme', 'a.json', '"a.png"', '"b.png"', 'duplicate file: labelme: b.png: 2 images'),
        ('cvat', 'annotations.xml', 'width="64"', 'width="640"',
         'size mismatch: CVAT: images/a.png in annotations.xml: the file is 64 x 48 pixels, its '
         'entry says 640 x 48; correct the size'),
        ('cvat', 'annotations.xml', 'label="leaf"', 'label="lead"',
         "unknown category: CVAT: annotation 1 of images/a.png in annotations.xml: category_id "
         "'lead' is not among the categories; add the category or remove the annotation"),
        ('cvat', 'annotations.xml', 'label="leaf"', 'label=""',
         "annotations.xml' has the class name ''"),
        ('cvat', 'annotations.xml', '4,4;', '4,nan;',
         'degenerate box: CVAT: annotation 1 of images/a.png in annotations.xml: bbox [4.0, nan, '),
        ('cvat', 'annotations.xml', '</image>',
         '<box label="leaf" xtl="1" ytl="1" xbr="9" /></image>',
         "annotations.xml' holds an object of another form (KeyError: 'ybr')"),
        ('cvat', 'annotations.xml', '</image>',
         '<mask label="leaf" rle="0,9" left="63" top="1" width="3" height="3" /></image>',
         "annotations.xml' holds an object of another form (ValueError: could not broadcast"),
        ('supervisely', 'ds0/ann/a.png.json', '"width": 64', '"width": 48',
         'size mismatch: Supervisely: ds0/img/a.png in ds0/ann/a.png.json: the file is 64 x 48'),
        ('supervisely', 'ds0/ann/a.png.json', '"leaf"', '"lead"',
         "unknown category: Supervisely: annotation 1 of ds0/img/a.png in ds0/ann/a.png.json"),
        ('supervisely', 'ds0/ann/b.png.json', '"data": "', '"data": "AAAA',
         "b.png.json' holds an object of another form (error: Error -3"),
        ('supervisely', 'meta.json', '"leaf"', '""', "meta.json' has the class name ''"),
        ('yolo', 'data.yaml', 'leaf', '""', "data.yaml' has the class name ''"),
        ('yolo', 'data.yaml', 'names:', 'names: [leaf\nnc 1', "data.yaml' is not valid YAML ("),
        ('yolo', 'data.yaml', ' leaf', '', "data.yaml' has the class name None: expected a text"),
        ('supervisely', 'meta.json', '"classes"', '"names"', "meta.json' holds an object of anoth"),
        ('yolo', 'data.yaml', '0:', 'leaf:', "data.yaml' has names=\"{'leaf': 'leaf', 1: 'spot'}"),
        ('yolo', 'labels/a.txt', '0 ', '0 nan ', 'from 0 to 1; these are not.'),
    ],
)  # fmt: skip
def test_other_formats(
    tmp_path: Path, name: str, file: str, old: str, new: str, message: str
) -> None:
    root = tmp_path / 'data'
    getattr(writers, name)(root)
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    assert message in refused(root)


def test_a_box_beyond_the_image_is_noted_in_every_format(tmp_path: Path) -> None:
    root = tmp_path / 'data'
    writers.voc(root)
    text = (root / VOC_A).read_text()
    (root / VOC_A).write_text(text.replace('<xmax>60<', '<xmax>80<'))
    assert run(root) == [
        'box beyond image (1; converted boxes are cut at the border), such as Pascal VOC: '
        'annotation 2 of JPEGImages/a.png in Annotations/a.xml: bbox [40, 10, 40, 20] reaches out '
        'of the 64 x 48 image'
    ]


@pytest.mark.parametrize('side', ['', '0', '64.0'])
def test_voc_sizes_that_some_tools_write(tmp_path: Path, side: str) -> None:
    root = tmp_path / 'data'
    writers.voc(root)
    size = f'<size><width>{side}</width><height>48</height></size>'
    (root / VOC_A).write_text((root / VOC_A).read_text().replace('<size />', size))
    assert run(root) == []


def test_yolo_corners_are_refused(tmp_path: Path) -> None:
    root = tmp_path / 'data'
    writers.yolo(root, outlines=False)
    lines = ['0 0.1 0.1 0.5 0.5', '1 0.3 0.3 0.9 0.9', '1 0.5 0.5 0.8 0.8', '0 0.2 0.2 0.3 0.3']
    (root / 'labels' / 'a.txt').write_text('\n'.join(lines))
    (root / 'labels' / 'b.txt').unlink()
    assert 'look like x1, y1, x2, y2 (else 2 of 4 reach out of their images)' in refused(root)


def test_yolo_labels_without_an_image_are_refused(tmp_path: Path) -> None:
    root = tmp_path / 'data'
    writers.yolo(root)
    (root / 'labels' / 'notes.txt').write_text('drawn twice\n')
    (root / 'labels' / 'classes.txt').write_text('0 1 2 3 4\n')
    assert run(root) == []
    (root.parent / 'task.py').unlink()
    (root / 'labels' / 'b.txt').rename(root / 'labels' / 'c.txt')
    assert _no_image(root / 'labels' / 'c.txt') in refused(root)


def _no_image(path: Path) -> str:
    return f'{str(path)!r} has no image (1 such label files)'


def _as_jpeg(file: Path) -> None:
    Image.open(file).save(file.with_suffix('.jpg'))
    file.unlink()


@pytest.mark.parametrize('suffix', ['.png', '_mask.png'])
def test_label_maps_in_jpeg_are_named(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / 'data'
    writers.label_maps(root, suffix=suffix)
    _as_jpeg(root / 'annotations' / f'b{suffix}')
    writers.draw(root / 'images' / 'c.png', 'a')
    Image.open(root / 'annotations' / f'a{suffix}').save(root / 'annotations' / f'c{suffix}')
    Image.open(root / 'annotations' / f'a{suffix}').save(root / 'annotations' / f'd{suffix}')
    jpeg = root / 'annotations' / f'b{suffix}'.replace('png', 'jpg')
    assert run(root)[-2:] == [
        f'1 label maps have no image, such as {str(root / "annotations" / f"d{suffix}")!r}',
        f'1 label maps in JPEG are left out, such as {str(jpeg)!r}: JPEG changes class numbers; '
        'store them as PNG',
    ]
    for name in 'acd':
        _as_jpeg(root / 'annotations' / f'{name}{suffix}')
    (root.parent / 'task.py').unlink()
    message = refused(root)
    assert 'has label maps in JPEG, such as' in message
    assert 'expected PNG, since JPEG changes class numbers; export the masks as PNG.' in message


def test_faults_are_printed_one_per_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def lost(content: dict) -> None:
        content['annotations'] += [
            dict(content['annotations'][0], id=number, image_id=number) for number in range(7, 14)
        ]
        content['images'][1].update(width=65)

    root = coco(tmp_path, lost)
    assert main([str(root), '--out', str(tmp_path / 'task.py')]) == 1
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if line.startswith(('size', 'annotation'))]
    assert [line.partition(':')[0] for line in lines] == [
        'size mismatch', *['annotation without image'] * 6
    ]  # fmt: skip
    assert lines[-1] == 'annotation without image: 2 more'
    assert not (tmp_path / 'task.py').exists()
    assert issubclass(FaultyAnnotationsError, ValueError)
