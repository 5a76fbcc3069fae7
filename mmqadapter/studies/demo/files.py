"""Files of scenes, in the layouts that mmseg and mmdet read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths

from mmqadapter.studies.demo.scenes import Domain, Scene, draw

SPLIT_NUMBERS = {'train': 0, 'val': 1}
MIN_PIXELS = 60  # an object with fewer visible pixels is not annotated


def write_semantic(root: Path, domain: Domain, split: str, count: int, seed: int = 0) -> None:
    """Write ``images/SPLIT/*.png`` and label maps ``annotations/SPLIT/*.png`` below ``root``."""
    for index, scene in enumerate(_scenes(domain, split, count, seed)):
        _save(root / 'images' / split, index, scene.image)
        _save(root / 'annotations' / split, index, scene.labels)


def write_instances(root: Path, domain: Domain, split: str, count: int, seed: int = 0) -> None:
    """Write ``images/SPLIT/*.png`` and ``instances_SPLIT.json`` (COCO, run lengths)."""
    images: list[dict] = []
    annotations: list[dict] = []
    for index, scene in enumerate(_scenes(domain, split, count, seed)):
        name = _save(root / 'images' / split, index, scene.image)
        height, width = scene.labels.shape
        images.append(dict(id=index, file_name=f'{split}/{name}', height=height, width=width))
        annotations += [
            dict(_annotation(label, mask), id=len(annotations) + n + 1, image_id=index)
            for n, (label, mask) in enumerate(_visible(scene))
        ]
    categories = [dict(id=n, name=name) for n, name in enumerate(domain.classes) if n]
    index_file = dict(images=images, annotations=annotations, categories=categories)
    (root / f'instances_{split}.json').write_text(json.dumps(index_file))


def _scenes(domain: Domain, split: str, count: int, seed: int) -> list[Scene]:
    return [draw(domain, (seed, SPLIT_NUMBERS[split], index)) for index in range(count)]


def _visible(scene: Scene) -> list[tuple[int, np.ndarray]]:
    return [(label, mask) for label, mask in scene.instances if mask.sum() >= MIN_PIXELS]


def _annotation(label: int, mask: np.ndarray) -> dict:
    code = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(
        category_id=label,
        area=int(mask.sum()),
        bbox=run_lengths.toBbox(code).tolist(),
        iscrowd=0,
        segmentation=dict(size=list(mask.shape), counts=code['counts'].decode()),
    )


def _save(folder: Path, index: int, pixels: np.ndarray) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    name = f'{index:04d}.png'
    Image.fromarray(pixels).save(folder / name)
    return name
