from __future__ import annotations

import pytest
import torch

from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.benchmark.model import ModelBuilder, plain_config
from mmqadapter.studies.report.settings import Settings

CPU = torch.device('cpu')


@pytest.mark.parametrize('wrapped', [True, False])
@pytest.mark.parametrize('package', ['mmseg', 'mmdet'])
def test_full_trains_all_of_the_plain_backbone(tiny, package: str, wrapped: bool) -> None:
    cfg = tiny(package, wrapped)
    builder = ModelBuilder(plain_config(cfg, Settings(CPU).completed(cfg)), seed=0)
    model = builder.build(parse_methods('full')[0])
    assert type(model.backbone).__name__ == 'SwinTransformer'
    model.train()
    assert all(parameter.requires_grad for parameter in model.backbone.parameters())
    assert all(module.training for module in model.backbone.modules())
    assert cfg.model.backbone.get('backbone', cfg.model.backbone).init_cfg is not None


def test_all_methods_start_from_the_same_weights(tiny) -> None:
    cfg = tiny('mmdet')
    builder = ModelBuilder(plain_config(cfg, Settings(CPU).completed(cfg)), seed=3)
    full, highway = (builder.build(m) for m in parse_methods('full,highway'))
    plain, tuned = full.state_dict(), highway.state_dict()
    for name, tensor in plain.items():
        assert tensor.equal(tuned[name.replace('backbone.', 'backbone.trunk.')])
    assert builder.plain_bytes == sum(tensor.nbytes for tensor in plain.values())


def test_frozen_weights_are_in_memory_once(tiny) -> None:
    cfg = tiny('mmseg')
    builder = ModelBuilder(plain_config(cfg, Settings(CPU).completed(cfg)), seed=3)
    full, frozen, bitfit = (builder.build(m) for m in parse_methods('full,frozen,bitfit'))
    in_memory = [
        {p.data_ptr() for p in model.backbone.parameters()} for model in (full, frozen, bitfit)
    ]
    assert in_memory[0].isdisjoint(in_memory[1] | in_memory[2])
    trained = {p.data_ptr() for p in bitfit.parameters() if p.requires_grad}
    assert trained
    assert in_memory[1] & in_memory[2] == in_memory[2] - trained


def test_a_model_without_backbone_is_refused(tiny) -> None:
    cfg = tiny('mmseg')
    settings = Settings(CPU).completed(cfg)
    cfg.model = dict(type='SegTTAModel')
    with pytest.raises(
        ValueError, match="model.type='SegTTAModel' is invalid: expected .* with a model.backbone"
    ):
        plain_config(cfg, settings)


def test_unset_settings_come_from_the_config(tiny) -> None:
    cfg = tiny('mmseg')
    assert Settings(CPU).completed(cfg).batch_size == 2
    assert Settings(CPU).completed(cfg).image_size == (64, 64)
    settings = Settings(CPU, batch_size=3, image_size=(32, 96)).completed(cfg)
    assert (settings.batch_size, settings.image_size, settings.amp) == (3, (32, 96), False)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    assert Settings(CPU).completed(cfg).amp
    assert plain_config(cfg, settings).model.data_preprocessor['size'] == (32, 96)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(steps=0), 'steps=0 is invalid: expected 1 or more'),
        (dict(warm_up=-1), 'warm_up=-1 is invalid: expected 0 or more'),
        (dict(image_size=(0, 5)), 'is invalid: expected pixels above 0'),
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(CPU, **wrong)
