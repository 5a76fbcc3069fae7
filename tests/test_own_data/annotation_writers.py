"""Two drawn images with outlines, written in each annotation format as its tool writes it."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64, 48  # width, height
NAMES = ('leaf', 'spot')
# Per image: label and outline x1, y1, x2, y2, ...
OUTLINES = {
    'a': [('leaf', (4, 4, 24, 4, 24, 20, 4, 20)), ('spot', (40, 10, 60, 10, 50, 30))],
    'b': [('spot', (10, 12, 30, 12, 30, 40, 10, 40))],
}


def draw(path: Path, name: str) -> None:
    """Write an image that shows the outlines in red and blue."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new('RGB', SIZE, (90, 120, 90))
    for label, outline in OUTLINES[name]:
        color = (200, 30, 30) if label == 'leaf' else (30, 30, 200)
        ImageDraw.Draw(picture).polygon(outline, fill=color)
    picture.save(path)


def box(outline: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom."""
    return min(outline[::2]), min(outline[1::2]), max(outline[::2]), max(outline[1::2])


def coco(root: Path) -> None:
    """One JSON for all images."""
    images, annotations = [], []
    for number, (name, objects) in enumerate(OUTLINES.items(), 1):
        draw(root / 'images' / f'{name}.png', name)
        width, height = SIZE
        images.append({'id': number, 'file_name': f'{name}.png', 'width': width, 'height': height})
        for label, outline in objects:
            left, top, right, bottom = box(outline)
            annotations.append({
                'id': len(annotations) + 1, 'image_id': number, 'iscrowd': 0, 'area': 1.0,
                'category_id': 10 * (NAMES.index(label) + 1), 'segmentation': [list(outline)],
                'bbox': [left, top, right - left, bottom - top],
            })  # fmt: skip
    categories = [{'id': 10 * number, 'name': name} for number, name in enumerate(NAMES, 1)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (root / 'annotations.json').write_text(json.dumps(content))


def yolo(root: Path, outlines: bool = True) -> None:
    """Text files in ``labels`` and names in ``data.yaml``."""
    for name, objects in OUTLINES.items():
        draw(root / 'images' / f'{name}.png', name)
        file = root / 'labels' / f'{name}.txt'
        file.parent.mkdir(exist_ok=True)
        file.write_text(''.join(_yolo_line(*entry, outlines) for entry in objects))
    (root / 'data.yaml').write_text('names:\n  0: leaf\n  1: spot\n')


def _yolo_line(label: str, outline: tuple[int, ...], outlines: bool) -> str:
    left, top, right, bottom = box(outline)
    values = (
        outline
        if outlines
        else ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    )
    shares = [f'{value / SIZE[axis % 2]:.6f}' for axis, value in enumerate(values)]
    return ' '.join([str(NAMES.index(label)), *shares]) + '\n'


def voc(root: Path) -> None:
    """Boxes in ``Annotations``, images in ``JPEGImages``."""
    for name, objects in OUTLINES.items():
        draw(root / 'JPEGImages' / f'{name}.png', name)
        annotation = Xml.Element('annotation')
        Xml.SubElement(annotation, 'filename').text = f'{name}.png'
        Xml.SubElement(annotation, 'size')
        for label, outline in objects:
            element = Xml.SubElement(annotation, 'object')
            Xml.SubElement(element, 'name').text = label
            borders = Xml.SubElement(element, 'bndbox')
            for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box(outline), strict=True):
                Xml.SubElement(borders, key).text = str(value)
        _write_xml(root / 'Annotations' / f'{name}.xml', annotation)


def labelme(root: Path) -> None:
    """One JSON beside each image."""
    for name, objects in OUTLINES.items():
        draw(root / f'{name}.png', name)
        shapes = [
            {'label': label, 'shape_type': 'polygon', 'group_id': None, 'points': _points(outline)}
            for label, outline in objects
        ]
        content = {
            'version': '5.5',
            'shapes': shapes,
            'imagePath': f'{name}.png',
            'imageData': None,
        }
        (root / f'{name}.json').write_text(json.dumps(content))


def cvat(root: Path) -> None:
    """One ``annotations.xml`` of CVAT for images 1.1."""
    export = Xml.Element('annotations')
    labels = Xml.SubElement(Xml.SubElement(Xml.SubElement(export, 'meta'), 'task'), 'labels')
    for name in NAMES:
        Xml.SubElement(Xml.SubElement(labels, 'label'), 'name').text = name
    for number, (name, objects) in enumerate(OUTLINES.items()):
        draw(root / 'images' / f'{name}.png', name)
        size = {'width': str(SIZE[0]), 'height': str(SIZE[1])}
        image = Xml.SubElement(export, 'image', id=str(number), name=f'{name}.png', **size)
        for label, outline in objects:
            points = ';'.join(f'{x},{y}' for x, y in _points(outline))
            Xml.SubElement(image, 'polygon', label=label, points=points)
    _write_xml(root / 'annotations.xml', export)


def supervisely(root: Path) -> None:
    """``meta.json`` and a data set of images and annotations; the second image has a bitmap."""
    for name, objects in OUTLINES.items():
        draw(root / 'ds0' / 'img' / f'{name}.png', name)
        entries = [_supervisely(name, label, outline) for label, outline in objects]
        content = {'size': {'width': SIZE[0], 'height': SIZE[1]}, 'objects': entries}
        file = root / 'ds0' / 'ann' / f'{name}.png.json'
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    classes = [{'title': name, 'shape': 'any'} for name in NAMES]
    (root / 'meta.json').write_text(json.dumps({'classes': classes, 'tags': []}))


def _supervisely(name: str, label: str, outline: tuple[int, ...]) -> dict:
    if name == 'a':
        points = {'exterior': _points(outline), 'interior': []}
        return {'classTitle': label, 'geometryType': 'polygon', 'points': points}
    left, top, right, bottom = box(outline)
    buffer = io.BytesIO()
    Image.fromarray(np.full((bottom - top, right - left), 255, np.uint8)).save(buffer, 'PNG')
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    bitmap = {'data': data, 'origin': [left, top]}
    return {'classTitle': label, 'geometryType': 'bitmap', 'bitmap': bitmap}


def label_maps(root: Path, values: tuple[int, int, int] = (0, 1, 2), suffix: str = '.png') -> None:
    """Class numbers in ``annotations``; ``values`` are those of background, leaf and spot."""
    for name, objects in OUTLINES.items():
        draw(root / 'images' / f'{name}.png', name)
        picture = Image.new('L', SIZE, values[0])
        for label, outline in objects:
            ImageDraw.Draw(picture).polygon(outline, fill=values[1 + NAMES.index(label)])
        file = root / 'annotations' / f'{name}{suffix}'
        file.parent.mkdir(exist_ok=True)
        picture.save(file)


def _points(outline: tuple[int, ...]) -> list[list[int]]:
    return [list(pair) for pair in zip(outline[::2], outline[1::2], strict=True)]


def _write_xml(path: Path, element: Xml.Element) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Xml.ElementTree(element).write(path)
