"""COCO JSON: one file per split, or one for all."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from mmqadapter.own_data.images import SPLIT_WORDS, files_below, images_below
from mmqadapter.own_data.samples import CocoFile, Instance, InstanceData, Sample

NAME = 'COCO JSON'
KEYS = {'images', 'annotations', 'categories'}


def matches(root: Path) -> bool:
    """Return whether a JSON below ``root`` has the keys of COCO."""
    return any(_is_coco(path) for path in files_below(root, '.json'))


def read(root: Path) -> InstanceData:
    """Read all COCO files below ``root``.

    Raises:
        ValueError: Two files are of the same split, or their categories differ.
    """
    contents = {path: _load(path) for path in files_below(root, '.json') if _is_coco(path)}
    files: dict[str, CocoFile] = {}
    splits: dict[str, list[Sample]] = {}
    classes: tuple[str, ...] = ()
    for path, content in contents.items():
        split = _split(path, root) if len(contents) > 1 else 'all'
        if split in files:
            raise ValueError(
                f'{str(path)!r} and {str(files[split].annotations)!r} are COCO files of the same '
                f'split ({split}): move one out of the folder.'
            )
        names = tuple(category['name'] for category in content['categories'])
        if classes and names != classes:
            raise ValueError(f'{str(path)!r} has categories {names}, another file has {classes}.')
        classes = names
        folder = _image_folder(path, content, root)
        files[split] = CocoFile(path, folder)
        splits[split] = _samples(content, folder)
    return InstanceData(NAME, root, classes, splits, files)


def _is_coco(path: Path) -> bool:
    try:
        content = _load(path)
    except ValueError:
        return False
    return isinstance(content, dict) and set(content) >= KEYS


def _load(path: Path) -> Any:
    return json.loads(path.read_text('utf-8'))


def _split(path: Path, root: Path) -> str:
    """Return the split that the file name or a folder states, or the name of the file."""
    for part in (path.stem, *reversed(path.relative_to(root).parts[:-1])):
        words = part.lower().replace('-', '_').replace('.', '_').split('_')
        for word in words:
            if word.rstrip('0123456789') in SPLIT_WORDS:
                return SPLIT_WORDS[word.rstrip('0123456789')]
    return path.stem


def _image_folder(path: Path, content: dict, root: Path) -> Path:
    """Return the folder that the file names of the JSON are relative to: the one most are in."""
    names = [image['file_name'] for image in content['images'][:100]]
    found = images_below(root)
    votes: Counter[Path] = Counter()
    for name in names:
        depth = len(Path(name).parts)
        tails = [image for image in found if image.parts[-depth:] == Path(name).parts]
        votes.update({image.parents[depth - 1] for image in tails})
    if not votes:
        raise ValueError(
            f'{str(path)!r} names images such as {names[:1]}, but no folder below {str(root)!r} '
            'has them: put the images there.'
        )
    split = _split(path, root)
    best = max(votes.values())
    folders = [folder for folder, count in votes.items() if count == best]
    return min(folders, key=lambda folder: (split not in str(folder.relative_to(root)), folder))


def _samples(content: dict, folder: Path) -> list[Sample]:
    names = {category['id']: category['name'] for category in content['categories']}
    instances: dict[int, list[Instance]] = defaultdict(list)
    for annotation in content['annotations']:
        instances[annotation['image_id']].append(_instance(annotation, names))
    return [
        Sample(
            folder / image['file_name'],
            (image['width'], image['height']),
            tuple(instances[image['id']]),
        )
        for image in content['images']
    ]


def _instance(annotation: dict, names: dict[int, str]) -> Instance:
    outline = annotation.get('segmentation') or ()
    label = names.get(annotation['category_id'], f'category {annotation["category_id"]}')
    box = tuple(annotation['bbox'])
    if isinstance(outline, dict):
        return Instance(label, box, rle=outline)
    return Instance(label, box, tuple(tuple(polygon) for polygon in outline))
