"""Files of scenes, as mmseg and mmdet read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmdet.datasets import CocoDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image
from pycocotools import mask as run_lengths

from mmqadapter.studies.demo import domains
from mmqadapter.studies.demo.files import MIN_PIXELS, SPLIT_NUMBERS, write_instances, write_semantic
from mmqadapter.studies.demo.scenes import Domain, draw

DOMAIN = next(value for value in vars(domains).values() if isinstance(value, Domain))


def test_label_maps(tmp_path: Path) -> None:
    write_semantic(tmp_path, DOMAIN, 'train', 3)
    data = BaseSegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images/train', seg_map_path='annotations/train'),
        img_suffix='.png',
        metainfo=dict(classes=DOMAIN.classes),
    )
    scene = draw(DOMAIN, (0, SPLIT_NUMBERS['train'], 2))
    info = data.get_data_info(2)
    assert len(data) == 3
    assert np.array_equal(np.asarray(Image.open(info['img_path'])), scene.image)
    assert np.array_equal(np.asarray(Image.open(info['seg_map_path'])), scene.labels)


def test_instances(tmp_path: Path) -> None:
    write_instances(tmp_path, DOMAIN, 'val', 4)
    data = CocoDataset(
        data_root=str(tmp_path),
        ann_file='instances_val.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=DOMAIN.classes[1:]),
    )
    assert len(data) == 4
    for index in range(4):
        scene, info = draw(DOMAIN, (0, SPLIT_NUMBERS['val'], index)), data.get_data_info(index)
        assert np.array_equal(np.asarray(Image.open(info['img_path'])), scene.image)
        actual = [(i['bbox_label'] + 1, run_lengths.decode(i['mask'])) for i in info['instances']]
        expected = [(label, mask) for label, mask in scene.instances if mask.sum() >= MIN_PIXELS]
        assert [label for label, _ in actual] == [label for label, _ in expected]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(actual, expected, strict=True))


def test_no_image_is_in_both_splits(tmp_path: Path) -> None:
    for split in SPLIT_NUMBERS:
        write_semantic(tmp_path, DOMAIN, split, 5)
    images = [path.read_bytes() for path in tmp_path.glob('images/*/*.png')]
    assert len(set(images)) == len(images) == 10
