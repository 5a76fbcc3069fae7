"""Rules for the lists of a COCO file: ids, references, and categories against classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

Lists = Mapping[str, Sequence[Mapping[str, Any]]]


def duplicate_ids(coco: Lists) -> Iterator[tuple[str, str]]:
    """Yield list and message for each id that occurs twice in it."""
    for name, entries in coco.items():
        for key, times in Counter(entry['id'] for entry in entries).items():
            if times > 1:
                yield name, f'id {key!r} occurs {times} times; number them anew'


def reference_fault(
    annotation: Mapping[str, Any], images: Mapping | set, categories: Mapping | set
) -> tuple[str, str]:
    """Return kind and text of a reference to nothing; empty if there is none."""
    if annotation['image_id'] not in images:
        message = (
            f'image_id {annotation["image_id"]!r} is not among the images; add the image or remove '
            'the annotation'
        )
        return 'annotation without image', message
    if annotation['category_id'] not in categories:
        message = f'category_id {annotation["category_id"]!r} is not among the categories'
        return 'unknown category', message
    return '', ''


def category_faults(names: Sequence[str], classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and message of what is wrong with the categories of a file.

    Args:
        names: Names of the categories, in the order of the file.
        classes: ``metainfo.classes`` of the config.
    """
    for name in classes:
        if name not in names:
            message = f'class {name!r} is not a category of the file, which has {list(names)}'
            yield 'class without category', message
    for name, times in Counter(names).items():
        if name in classes and times > 1:
            yield (
                'duplicate category',
                f'{times} categories are called {name!r}; rename or join them',
            )
    used = [name for name in names if name in classes]
    if sorted(used) == sorted(classes) and used != list(classes):
        message = (
            f'the order of the file is {used}, that of the config {list(classes)}: mmdet would '
            'give predictions the wrong names; write the classes in the order of the file'
        )
        yield 'class order', message


@contextmanager
def checked_lists() -> Iterator[None]:
    """Check the lists of each COCO file that mmdet reads in the block, while it has them.

    Raises:
        ValueError: An id occurs twice, an annotation refers to nothing, or the categories do not
            fit the classes; raised where mmdet reads the file.
    """
    if find_spec('mmdet') is None:
        yield
        return
    from mmdet.datasets.api_wrappers import COCO

    index, find = COCO.createIndex, COCO.get_cat_ids

    def checked_index(api: Any) -> None:
        if type(api) is COCO:
            _check_lists(api.dataset)
        index(api)

    def checked_find(api: Any, cat_names: Any = (), **options: Any) -> list:
        if type(api) is COCO and isinstance(cat_names, (list, tuple)):
            names = [category['name'] for category in api.dataset.get('categories', ())]
            for _, message in category_faults(names, cat_names):
                raise ValueError(message)
        return find(api, cat_names, **options)

    COCO.createIndex, COCO.get_cat_ids = checked_index, checked_find
    try:
        yield
    finally:
        COCO.createIndex, COCO.get_cat_ids = index, find


def _check_lists(content: Any) -> None:
    lists = {name: content.get(name) or [] for name in ('images', 'annotations', 'categories')}
    for name, message in duplicate_ids(lists):
        raise ValueError(f'{name}: {message}')
    images = {image['id']: image for image in lists['images']}
    categories = {category['id'] for category in lists['categories']}
    for annotation in lists['annotations']:
        _, message = reference_fault(annotation, images, categories)
        message = message or _value_fault(annotation, images[annotation['image_id']])
        if message:
            raise ValueError(f'annotation {annotation["id"]!r}: {message}')


def _value_fault(annotation: Mapping[str, Any], image: Mapping[str, Any]) -> str:
    """Return what mmdet would compute with without a word; empty for nothing."""
    box, mask = annotation.get('bbox'), annotation.get('segmentation')
    if box is not None and not (len(box) == 4 and all(map(math.isfinite, box))):
        return f'bbox {box} is not four finite numbers'
    size = [image.get('height'), image.get('width')]
    if isinstance(mask, dict) and None not in size and list(mask.get('size', size)) != size:
        return f'the mask is for an image of {mask["size"]} (height, width), its image has {size}'
    return ''
