"""COCO JSON: one file per split, or one for all."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from mmqadapter.own_data.formats.coco_files import has_lists, lists_below
from mmqadapter.own_data.formats.files import check_label
from mmqadapter.own_data.images import SPLIT_WORDS, images_below
from mmqadapter.own_data.samples import CocoFile, Instance, InstanceData, Sample

NAME = 'COCO JSON'


def matches(root: Path) -> bool:
    """Return whether a JSON below ``root`` has the lists of COCO.

    Raises:
        ValueError: None has, and one that may be a COCO file is damaged.
    """
    return has_lists(root)


def read(root: Path) -> InstanceData:
    """Read all COCO files below ``root``.

    Raises:
        ValueError: A file is damaged, an entry is invalid, two files are of the same split, or
            their categories differ.
    """
    contents = lists_below(root)
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
        names = _category_names(path, content['categories'])
        if classes and names != classes:
            raise ValueError(f'{str(path)!r} has categories {names}, another file has {classes}.')
        classes = names
        folder = _image_folder(path, content, root)
        files[split] = CocoFile(path, folder)
        splits[split] = _samples(path, content, folder)
    return InstanceData(NAME, root, classes, splits, files, split_by='COCO files')


def _category_names(path: Path, categories: list) -> tuple[str, ...]:
    return tuple(check_label(category['name'], path) for category in categories)


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


def _samples(path: Path, content: dict, folder: Path) -> list[Sample]:
    names = {category['id']: category['name'] for category in content['categories']}
    instances: dict[int, list[Instance]] = defaultdict(list)
    for annotation in content['annotations']:
        if annotation['category_id'] not in names:
            raise ValueError(
                f'{str(path)!r}: annotation {annotation.get("id")!r} has '
                f'category_id={annotation["category_id"]!r}, which is not among the categories '
                f'{list(names)}; add the category or remove the annotation.'
            )
        instances[annotation['image_id']].append(_instance(path, annotation, names))
    return [
        Sample(
            folder / image['file_name'],
            (image['width'], image['height']),
            tuple(instances[image['id']]),
        )
        for image in content['images']
    ]


def _instance(path: Path, annotation: dict, names: dict[int, str]) -> Instance:
    outline = annotation.get('segmentation') or ()
    label = names[annotation['category_id']]
    box, crowd = tuple(annotation['bbox']), bool(annotation.get('iscrowd'))
    if isinstance(outline, dict):
        return Instance(label, box, rle=outline, crowd=crowd)
    try:
        polygons = tuple(tuple(polygon) for polygon in outline)
    except TypeError as error:
        raise ValueError(
            f'{str(path)!r}: annotation {annotation.get("id")!r} has '
            f'segmentation={str(outline)[:60]}: expected a list of polygons, or run lengths.'
        ) from error
    return Instance(label, box, polygons, crowd=crowd)
