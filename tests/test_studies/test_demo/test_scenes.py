from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmqadapter.studies.demo.domains import CHECKED, HUE, SHADE
from mmqadapter.studies.demo.files import write_instances, write_semantic
from mmqadapter.studies.demo.scenes import Domain, draw


def test_scene_depends_on_the_seed_alone() -> None:
    first, repeated, other = (draw(CHECKED, (0, 1, index)) for index in (2, 2, 3))
    assert np.array_equal(first.image, repeated.image)
    assert np.array_equal(first.labels, repeated.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_instances_cover_the_labels() -> None:
    scene = draw(HUE, (0, 0, 5))
    for label, mask in scene.instances:
        assert (scene.labels[mask] == label).all()
    assert (sum(mask for _, mask in scene.instances) == (scene.labels > 0)).all()


def test_only_classes_of_the_checked_domain_differ_in_the_size_of_checks() -> None:
    def edges(domain: Domain) -> dict[int, float]:
        """Return the share of neighboring pixels of an object with other colors, by class."""
        shares: dict[int, list[float]] = {}
        for index in range(30):
            scene = draw(domain, (0, 0, index))
            steps = abs(np.diff(scene.image.astype(int), axis=1)).max(-1) > 60
            for label, mask in scene.instances:
                inside = mask[:, 1:] & mask[:, :-1]
                if inside.any():
                    shares.setdefault(label, []).append(float(steps[inside].mean()))
        return {label: float(np.mean(values)) for label, values in sorted(shares.items())}

    fine, small, large, coarse = edges(CHECKED).values()
    assert fine > 1.5 * small > 2 * large > 2.5 * coarse
    assert max(edges(HUE).values()) < 0.02


def test_classes_of_the_shade_domain_differ_in_lightness() -> None:
    luma: dict[int, list[float]] = {}
    for index in range(30):
        scene = draw(SHADE, (0, 0, index))
        gray = scene.image @ np.array([0.3, 0.59, 0.11])
        for label, mask in scene.instances:
            if mask.any():
                luma.setdefault(label, []).append(float(gray[mask].mean()))
    dark, dim, bright, pale = (luma[label] for label in sorted(luma))
    assert np.mean(dark) < np.mean(dim) < np.mean(bright) < np.mean(pale)
    assert all(np.std(values) < 0.2 * np.mean(values) for values in luma.values())


def test_files(tmp_path: Path) -> None:
    write_semantic(tmp_path, CHECKED, 'val', 2)
    write_instances(tmp_path, CHECKED, 'val', 2)
    labels = np.asarray(Image.open(tmp_path / 'annotations/val/0001.png'))
    assert np.array_equal(labels, draw(CHECKED, (0, 1, 1)).labels)
    index = json.loads((tmp_path / 'instances_val.json').read_text())
    assert [category['name'] for category in index['categories']] == list(CHECKED.classes[1:])
    assert {a['image_id'] for a in index['annotations']} == {0, 1}
