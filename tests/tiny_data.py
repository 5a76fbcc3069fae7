"""Four images with a label map and COCO instances each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ('sky', 'box', 'dot')


def write_data(root: Path) -> None:
    """Four 64 x 64 images of a box and a dot; label maps and COCO JSON."""
    generator = np.random.default_rng(0)
    content: dict[str, list] = {
        'images': [],
        'annotations': [],
        'categories': [dict(id=i, name=name) for i, name in enumerate(CLASSES, start=1)],
    }
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
    for number in range(4):
        image = generator.integers(0, 80, (64, 64, 3), dtype=np.uint8)
        labels = np.zeros((64, 64), np.uint8)
        file = f'{number}.jpg'
        content['images'].append(dict(id=number, file_name=file, width=64, height=64))
        for label, size in ((1, 24), (2, 10)):
            x, y = (int(value) for value in generator.integers(0, 64 - size, 2))
            image[y : y + size, x : x + size, label] = 220
            labels[y : y + size, x : x + size] = label
            content['annotations'].append(_box(content, number, label + 1, x, y, size))
        Image.fromarray(image).save(root / 'images' / file)
        Image.fromarray(labels).save(root / f'labels/{number}.png')
    (root / 'instances.json').write_text(json.dumps(content))


def _box(content: dict, image: int, category: int, x: int, y: int, size: int) -> dict:
    outline = [x, y, x + size, y, x + size, y + size, x, y + size]
    return dict(
        id=len(content['annotations']) + 1,
        image_id=image,
        category_id=category,
        bbox=[x, y, size, size],
        area=size * size,
        segmentation=[outline],
        iscrowd=0,
    )
