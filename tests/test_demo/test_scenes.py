from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmqadapter.demo.domains import HUE, SHADE
from mmqadapter.demo.files import write_instances, write_semantic
from mmqadapter.demo.scenes import draw


def test_a_seed_draws_the_same_scene_and_another_seed_another() -> None:
    first, again, other = draw(SHADE, (0, 1, 2)), draw(SHADE, (0, 1, 2)), draw(SHADE, (0, 1, 3))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_instances_cover_the_labels() -> None:
    scene = draw(HUE, (0, 0, 5))
    for label, mask in scene.instances:
        assert (scene.labels[mask] == label).all()
    assert (sum(mask for _, mask in scene.instances) == (scene.labels > 0)).all()


def test_lightness_tells_the_class_in_the_second_domain_only() -> None:
    def spread(domain) -> float:  # noqa: ANN001
        luma: dict[int, list[float]] = {}
        for index in range(30):
            scene = draw(domain, (0, 0, index))
            grey = scene.image @ np.array([0.3, 0.59, 0.11])
            for label, mask in scene.instances:
                if mask.any():
                    luma.setdefault(label, []).append(float(grey[mask].mean()))
        return max(np.std(values) / np.mean(values) for values in luma.values())

    assert spread(SHADE) < 0.2 < spread(HUE)


def test_files(tmp_path: Path) -> None:
    write_semantic(tmp_path, SHADE, 'val', 2)
    write_instances(tmp_path, SHADE, 'val', 2)
    labels = np.asarray(Image.open(tmp_path / 'annotations/val/0001.png'))
    assert np.array_equal(labels, draw(SHADE, (0, 1, 1)).labels)
    index = json.loads((tmp_path / 'instances_val.json').read_text())
    assert [category['name'] for category in index['categories']] == list(SHADE.classes[1:])
    assert {a['image_id'] for a in index['annotations']} == {0, 1}
