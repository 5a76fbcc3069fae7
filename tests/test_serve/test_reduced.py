"""Large images are reduced before drawing, with labels, boxes and masks in their places."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mmqadapter.serve.reduced import SCREEN, reduce


def test_an_image_of_the_size_of_a_screen_stays() -> None:
    sample, pixels = BaseDataElement(), np.zeros((4, SCREEN, 3), np.uint8)
    assert reduce(sample, pixels, 0.3) == (sample, pixels)


def test_labels_stay_on_their_pixels() -> None:
    width = 3 * SCREEN - 1  # which 3 does not divide
    labels = torch.arange(width).expand(1, 7, width) > width // 2
    pixels = np.repeat(labels[0, :, :, None].numpy() * np.uint8(200), 3, axis=2)
    sample = BaseDataElement(pred_sem_seg=PixelData(data=labels.long()))
    reduced, small = reduce(sample, pixels, 0.3)
    assert small.shape == (3, SCREEN, 3)
    found = reduced.pred_sem_seg.data
    assert found.shape == (1, 3, SCREEN) and sample.pred_sem_seg.data.shape == labels.shape
    assert ((found[0].numpy() == 1) == (small[..., 0] > 100)).mean() > 0.999


def test_boxes_and_masks_shrink_alike_and_low_scores_are_left_out() -> None:
    masks = torch.zeros(2, 10, 2 * SCREEN, dtype=torch.bool)
    masks[:, 2:6, 100:200] = True
    instances = InstanceData(
        bboxes=torch.tensor([[100.0, 2.0, 200.0, 6.0]] * 2), labels=torch.tensor([0, 1]),
        scores=torch.tensor([0.2, 0.9]), masks=masks,
    )  # fmt: skip
    sample = BaseDataElement(pred_instances=instances)
    reduced, small = reduce(sample, np.zeros((10, 2 * SCREEN, 3), np.uint8), 0.3)
    found = reduced.pred_instances
    assert small.shape == (5, SCREEN, 3) and found.labels.tolist() == [1]
    assert found.bboxes.tolist() == [[50.0, 1.0, 100.0, 3.0]]
    rows, columns = found.masks[0].nonzero().T
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (50, 99, 1, 2)
    assert sample.pred_instances.bboxes[0].tolist() == [100.0, 2.0, 200.0, 6.0]
