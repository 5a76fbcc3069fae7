from __future__ import annotations

from typing import Any

import pytest
import torch

from mmqadapter.engine.runner import build_model
from mmqadapter.studies.analysis.batches import fixed_batches
from mmqadapter.studies.analysis.loss import FixedLoss


def pixels(batches: list[Any]) -> torch.Tensor:
    return torch.stack([image for batch in batches for image in batch['inputs']])


@pytest.mark.parametrize('package', ['mmseg', 'mmdet'])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_the_loss_is_a_function_of_the_weights_alone(package: str, split: str, tiny) -> None:
    cfg = tiny(package)
    model: Any = build_model(cfg)
    batches = fixed_batches(cfg, split, count=2, batch_size=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss = FixedLoss(model.train(), batches)
    first = loss()
    torch.rand(7)
    assert loss() == first > 0
    # Neither the statistics of batch norm nor anything else has changed.
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    with torch.no_grad():
        next(model.backbone.parameters()).mul_(2)
    assert loss() != first


def test_it_is_the_loss_of_training_in_eval_mode(tiny) -> None:
    cfg = tiny('mmseg')
    model: Any = build_model(cfg)
    (batch,) = fixed_batches(cfg, count=1)
    actual = FixedLoss(model, [batch])()
    with torch.no_grad():
        data = model.eval().data_preprocessor(batch, True)
        expected, _ = model.parse_losses(model(**data, mode='loss'))
    assert actual == float(expected)


def test_the_seed_fixes_batches_and_augmentation(tiny) -> None:
    cfg = tiny('mmseg')
    first, repeated = (fixed_batches(cfg, count=3, seed=1) for _ in range(2))
    assert torch.equal(pixels(first), pixels(repeated))
    assert not torch.equal(pixels(first), pixels(fixed_batches(cfg, count=3, seed=2)))


def test_validation_images_go_through_the_training_transforms(tiny) -> None:
    cfg = tiny('mmdet')
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='Resize', scale=(32, 32)))
    batches = fixed_batches(cfg, 'val', count=1, batch_size=4)
    assert all(image.shape[-2:] == (32, 32) for image in batches[0]['inputs'])
    for sample in batches[0]['data_samples']:
        assert float(sample.gt_instances.bboxes.tensor.max()) <= 32
        assert sample.gt_instances.masks.masks.shape[-2:] == (32, 32)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(split='test'), "split='test' is invalid: expected one of"),
        (dict(count=0), 'batches=0 is invalid: expected 1 or more'),
        (dict(batch_size=-1), 'batch_size=-1 is invalid: expected 0 or more'),
    ],
)
def test_invalid_arguments_are_refused(options: dict, message: str, tiny) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_batches(tiny('mmseg'), **options)


def test_too_little_data_and_missing_data_are_reported(tiny) -> None:
    cfg = tiny('mmseg')
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    with pytest.raises(ValueError, match='batches=3 is invalid: the train data have only 2'):
        fixed_batches(cfg, count=3, batch_size=2)
    cfg.train_dataloader.dataset.data_root = 'no/data'
    with pytest.raises(FileNotFoundError, match='no/data'):
        fixed_batches(cfg)
