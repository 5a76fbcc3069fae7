"""CVAT for images 1.1: one ``annotations.xml`` for all images."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from pycocotools import mask as coco_mask

from mmqadapter.own_data.formats.files import check_label, faults_of, skipped_note, xml_root
from mmqadapter.own_data.geometry import box_of, ellipse
from mmqadapter.own_data.grouping import join_groups
from mmqadapter.own_data.images import (
    SPLIT_WORDS,
    by_stem,
    files_below,
    images_below,
    split_of,
)
from mmqadapter.own_data.samples import Instance, InstanceData, Sample, class_names

NAME = 'CVAT'
ROOT = 'annotations', 'image'  # tag, and one of its children


def matches(root: Path) -> bool:
    """Return whether an XML below ``root`` is an export of CVAT for images."""
    return any(xml_root(path, *ROOT) is not None for path in files_below(root, '.xml')[:50])


def read(root: Path) -> InstanceData:
    """Read the exports of CVAT below ``root``; points, lines and tags are skipped.

    Shapes with the same label and group are one object.

    Raises:
        ValueError: An annotated image is missing.
    """
    images = by_stem(images_below(root))
    splits: dict[str, list[Sample]] = {}
    skipped: set[str] = set()
    for path in files_below(root, '.xml'):
        export = xml_root(path, *ROOT)
        if export is not None:
            for element in export.findall('image'):
                image = _image(path, element, images)
                with faults_of(path):
                    sample = _sample(path, element, image, skipped)
                splits.setdefault(_split(element, image, root), []).append(sample)
    classes = _label_names(root) or class_names(splits)
    notes = skipped_note(skipped)
    return InstanceData(NAME, root, tuple(classes), splits, notes=notes, split_by='subsets')


def _sample(path: Path, element: ElementTree.Element, image: Path, skipped: set[str]) -> Sample:
    size = int(element.get('width', 0)), int(element.get('height', 0))
    objects = _instances(element, size, skipped)
    for instance in objects:
        check_label(instance.label, path)
    return Sample(image, size, tuple(objects), path, size)


def _label_names(root: Path) -> list[str]:
    """Return the labels of the project, in its order, from the ``meta`` element."""
    names: dict[str, None] = {}
    for path in files_below(root, '.xml'):
        export = xml_root(path, *ROOT)
        if export is not None:
            labels = export.iterfind('.//labels/label/name')
            names.update(dict.fromkeys(label.text or '' for label in labels))
    return list(names)


def _image(path: Path, element: ElementTree.Element, images: dict[str, list[Path]]) -> Path:
    name = Path(element.get('name', ''))
    for image in images.get(name.stem, []):
        if image.parts[-len(name.parts) :] == name.parts:
            return image
    raise ValueError(f'{str(path)!r} names the image {str(name)!r}, which the folder lacks.')


def _split(element: ElementTree.Element, image: Path, root: Path) -> str:
    subset = element.get('subset', '').lower()
    return SPLIT_WORDS.get(subset) or split_of(image, root)


def _instances(
    element: ElementTree.Element, size: tuple[int, int], skipped: set[str]
) -> list[Instance]:
    shapes = []
    for shape in element:
        instance = _instance(shape, size)
        if instance is None:
            skipped.add(shape.tag)
        else:
            shapes.append((int(shape.get('group_id', 0)) or None, instance))
    return join_groups(shapes)


def _instance(shape: ElementTree.Element, size: tuple[int, int]) -> Instance | None:
    label = shape.get('label', '')
    if shape.tag == 'box':
        left, top, right, bottom = (
            float(shape.attrib[key]) for key in ('xtl', 'ytl', 'xbr', 'ybr')
        )
        return Instance(label, (left, top, right - left, bottom - top))
    if shape.tag == 'polygon':
        pairs = [pair.split(',') for pair in shape.get('points', '').split(';')]
        polygon = tuple(float(value) for pair in pairs for value in pair)
        return Instance(label, box_of([polygon]), (polygon,))
    if shape.tag == 'ellipse':
        polygon = ellipse(*(float(shape.attrib[key]) for key in ('cx', 'cy', 'rx', 'ry')))
        return Instance(label, box_of([polygon]), (polygon,))
    return _mask(label, shape, size) if shape.tag == 'mask' else None


def _mask(label: str, shape: ElementTree.Element, size: tuple[int, int]) -> Instance:
    """Decode CVAT's mask: runs of 0 and 1, row by row, inside its box."""
    left, top, width, height = (
        int(shape.attrib[key]) for key in ('left', 'top', 'width', 'height')
    )
    runs = [int(run) for run in shape.get('rle', '').split(',')]
    values = np.repeat(np.arange(len(runs), dtype=np.uint8) % 2, runs)
    mask = np.zeros(size[::-1], np.uint8, order='F')
    mask[top : top + height, left : left + width] = values.reshape(height, width)
    rle = coco_mask.encode(mask)
    return Instance(
        label, (left, top, width, height), rle={**rle, 'counts': rle['counts'].decode()}
    )
