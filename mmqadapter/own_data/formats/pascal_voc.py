"""Pascal VOC: one XML per image with boxes, and outlines where a tool added them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from mmqadapter.own_data.formats.files import check_label, faults_of, read_text, xml_root
from mmqadapter.own_data.geometry import box_of
from mmqadapter.own_data.images import by_stem, files_below, image_size, images_below, split_of
from mmqadapter.own_data.samples import Box, Instance, InstanceData, Polygon, Sample, class_names

NAME = 'Pascal VOC'
ROOT = 'annotation', 'size'  # tag, and one of its children


def matches(root: Path) -> bool:
    """Return whether an XML below ``root`` is an annotation of Pascal VOC."""
    return any(xml_root(path, *ROOT) is not None for path in files_below(root, '.xml')[:50])


def read(root: Path) -> InstanceData:
    """Read all annotations below ``root``; classes are in alphabetical order.

    Raises:
        ValueError: An annotation has no image, or a box is incomplete.
    """
    images = by_stem(images_below(root))
    lists = _split_lists(root)
    listed = {name: split for split, names in lists.items() for name in names}
    splits: dict[str, list[Sample]] = {}
    annotated = set[str]()
    for path in files_below(root, '.xml'):
        annotation = xml_root(path, *ROOT)
        if annotation is not None:
            annotated.add(path.stem)
            image = _image(path, annotation, images)
            split = listed.get(path.stem) or split_of(image, root)
            splits.setdefault(split, []).append(_sample(path, annotation, image))
    notes = list(_list_notes(lists, annotated))
    split_by = 'lists of ImageSets' if lists else 'folders'
    return InstanceData(NAME, root, class_names(splits), splits, notes=notes, split_by=split_by)


def _split_lists(root: Path) -> dict[str, list[str]]:
    """Return the names in ``ImageSets/*/{test,val,train}.txt`` by split, in this order."""
    lists: dict[str, list[str]] = {}
    for split in ('test', 'val', 'train'):
        for file in sorted(root.rglob(f'ImageSets/*/{split}.txt')):
            lines = read_text(file).splitlines()
            lists.setdefault(split, []).extend(line.split()[0] for line in lines if line.strip())
    return lists


def _list_notes(lists: dict[str, list[str]], annotated: set[str]) -> Iterator[str]:
    """Yield notes on names of lists that have no annotation, or are in two lists."""
    for split, names in lists.items():
        lost = [name for name in dict.fromkeys(names) if name not in annotated]
        if lost:
            yield (
                f'names in {split}.txt of ImageSets without an annotation file are left out '
                f'({len(lost)}), such as {lost[0]!r}'
            )
    both = sorted(set(lists.get('train', ())) & set(lists.get('val', ())))
    if both:
        yield f'names in train.txt and val.txt are used for training ({len(both)}): {both[0]!r}'


def _image(path: Path, annotation: ElementTree.Element, images: dict[str, list[Path]]) -> Path:
    name = annotation.findtext('filename') or path.stem
    candidates = images.get(path.stem) or images.get(Path(name).stem) or []
    beside = [image for image in candidates if image.parent == path.parent]
    if not candidates:
        raise ValueError(f'{str(path)!r} has no image: expected a file {name!r} below the folder.')
    return (beside or candidates)[0]


def _sample(path: Path, annotation: ElementTree.Element, image: Path) -> Sample:
    with faults_of(path):
        objects = tuple(_instance(path, element) for element in annotation.findall('object'))
        return Sample(image, image_size(image), objects, path, _declared(annotation))


def _declared(annotation: ElementTree.Element) -> tuple[int, int] | None:
    """Return width and height as the file says; some tools leave them out or write 0."""
    width, height = (
        int(float(annotation.findtext(f'size/{side}') or 0)) for side in ('width', 'height')
    )
    return (width, height) if width and height else None


def _instance(path: Path, element: ElementTree.Element) -> Instance:
    label = check_label((element.findtext('name') or '').strip(), path)
    box = _box(path, element)
    polygon = _polygon(element)
    if polygon:
        return Instance(label, box_of([polygon]), (polygon,))
    return Instance(label, box)


def _box(path: Path, element: ElementTree.Element) -> Box:
    try:
        left, top, right, bottom = (
            float(element.findtext(f'bndbox/{key}', '')) for key in ('xmin', 'ymin', 'xmax', 'ymax')
        )
    except ValueError as error:
        raise ValueError(
            f'{str(path)!r} has an object without a box: expected bndbox with xmin, ymin, xmax, '
            'ymax.'
        ) from error
    return left, top, right - left, bottom - top


def _polygon(element: ElementTree.Element) -> Polygon:
    """Return the outline: children x1, y1, x2, y2, ... or pt elements with x and y."""
    outline = element.find('polygon')
    if outline is None:
        return ()
    points = outline.findall('pt')
    if points:
        return tuple(float(point.findtext(axis, '')) for point in points for axis in ('x', 'y'))
    return tuple(float(child.text or '') for child in outline if child.tag[0] in 'xy')
