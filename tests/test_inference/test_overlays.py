"""Overlays: masks as mmdet draws them, names in label maps only where they are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import BaseDataElement, PixelData

from mmqadapter.inference.instance_visualizer import InstanceVisualizer
from mmqadapter.inference.overlays import OverlayPainter

META: dict[str, Any] = {'classes': ('sky', 'road'), 'palette': [(250, 0, 0), (0, 0, 250)]}


@pytest.mark.parametrize('count', [0, 1, 5])
def test_masks_look_as_those_of_mmdet(count: int) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 50, 3), np.uint8)
    masks = random.random((count, 40, 50)) < 0.4
    colors = [tuple(map(int, color)) for color in random.integers(0, 256, (count, 3))]
    drawn = []
    for visualizer in (DetLocalVisualizer(), InstanceVisualizer()):
        visualizer.set_image(pixels)
        visualizer.draw_binary_masks(masks, colors, alphas=0.6)
        drawn.append(visualizer.get_image().astype(int))
    # Another rounding of ties, once for each mask on top.
    assert np.abs(drawn[0] - drawn[1]).max() <= count
    if count:
        assert np.abs(drawn[1] - pixels).max() > 50


def test_names_are_written_into_label_maps_unless_there_is_a_legend() -> None:
    labels = torch.zeros(1, 60, 80, dtype=torch.long)
    sample = BaseDataElement(pred_sem_seg=PixelData(data=labels))
    pixels = np.full((60, 80, 3), 100, np.uint8)
    named = OverlayPainter(META).draw(sample, pixels, 0.3)
    plain = OverlayPainter(META, names_in_maps=False).draw(sample, pixels, 0.3)
    assert (plain == plain[0, 0]).all() and plain[0, 0].tolist() == [175, 50, 50]
    assert not (named == named[0, 0]).all()
