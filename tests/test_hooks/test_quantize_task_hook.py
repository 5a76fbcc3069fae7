"""Quantization-aware training with mmengine's runner: start, checkpoints, EMA, resume, test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.registry import MODELS
from mmengine.runner import Runner
from test_exact_resume_hook import assert_same_run, load

from mmqadapter import load_task
from mmqadapter.hooks import QuantizeTaskHook
from mmqadapter.quant import LayerQuantizer, parametrized_weights
from mmqadapter.taskfile.head_bits import KEY, trained_bits

WIDE = dict(type='TinyModel', classes=3)


@MODELS.register_module(force=True)
class Initialized(MODELS.get('TinyModel')):
    """Tiny model with an ``init_cfg``."""

    def __init__(self, init_cfg: dict, **settings: Any) -> None:
        super().__init__(**settings)
        self.init_cfg = init_cfg


@pytest.fixture
def plain(tiny):
    """``plain('name')``: a float config whose head has three classes."""

    def config(name):
        cfg = tiny(name)
        cfg.model = dict(WIDE)
        return cfg

    return config


@pytest.fixture
def few(plain):
    """``few('name', bits)``: the same at few bits."""

    def config(name='run', bits=2, ema=False):
        cfg = plain(name)
        cfg.custom_hooks.append(dict(type='mmqadapter.QuantizeTaskHook', bits={'head': bits}))
        if ema:
            cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.4))
        return cfg

    return config


def test_the_model_trains_at_few_bits_from_the_start(few, train, saved_tasks) -> None:
    runner = train(few(bits=1))
    assert trained_bits(runner.model) == {'head': 1}
    weight, bias = runner.model.head.weight.detach(), runner.model.head.bias.detach().numpy()
    assert all(len(row.unique()) == 2 for row in weight)
    np.testing.assert_array_equal(bias, bias.astype(np.float16))


def test_the_optimizer_updates_the_latent_weights(few, train, tmp_path, saved_tasks) -> None:
    train(few())
    first, last = (load(tmp_path / 'run' / f'iter_{step}.pth') for step in (3, 6))
    weight = last['state_dict']['head.weight']
    assert not torch.equal(weight, first['state_dict']['head.weight'])
    assert len(weight.unique()) == weight.numel() == 12
    assert len(last['optimizer']['state']) == 4  # weight and bias of adapter and head


def test_checkpoints_have_the_usual_names_and_shapes(
    few, plain, train, tmp_path, saved_tasks
) -> None:
    train(few('few', ema=True))
    cfg = plain('float')
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.4))
    train(cfg)
    few_bits, in_float = (load(tmp_path / name / 'iter_6.pth') for name in ('few', 'float'))
    for part in ('state_dict', 'ema_state_dict'):
        shapes = [{name: t.shape for name, t in c[part].items()} for c in (few_bits, in_float)]
        assert shapes[0] == shapes[1]
    assert few_bits[KEY] == {'head': 2} and KEY not in in_float


@pytest.mark.parametrize('ema', [False, True])
def test_resume_equals_uninterrupted(few, train, tmp_path, saved_tasks, ema) -> None:
    train(few('whole', ema=ema))
    train(few('resumed', ema=ema), resume=tmp_path / 'whole' / 'iter_3.pth')
    whole, resumed = (tmp_path / name / 'iter_6.pth' for name in ('whole', 'resumed'))
    assert_same_run(whole, resumed)
    if ema:
        averages = [load(path)['ema_state_dict'] for path in (whole, resumed)]
        assert all(torch.equal(averages[1][name], t) for name, t in averages[0].items())


def test_resume_with_other_bits_is_refused(few, train, tmp_path, saved_tasks) -> None:
    train(few('whole'))
    with pytest.raises(ValueError, match="with 2 bits in 'head', but this config has 4; resume"):
        train(few('other', bits=4), resume=tmp_path / 'whole' / 'iter_3.pth')


def test_resume_in_float_is_refused(few, plain, train, tmp_path, saved_tasks) -> None:
    train(few('few'))
    text = (
        r"with QuantizeTaskHook \(1 layer\(s\), such as 'head' at 2 bits\), this config has no .*"
    )
    with pytest.raises(ValueError, match=f'{text}resume with the QuantizeTaskHook.* load_from'):
        train(plain('float'), resume=tmp_path / 'few' / 'iter_3.pth')


def test_a_float_training_does_not_resume_at_few_bits(
    few, plain, train, tmp_path, saved_tasks
) -> None:
    train(plain('float'))
    text = 'trained in float, but this config has a QuantizeTaskHook: resume without .* load_from'
    with pytest.raises(ValueError, match=text):
        train(few('few'), resume=tmp_path / 'float' / 'iter_3.pth')
    resumed = train(plain('again'), resume=tmp_path / 'float' / 'iter_3.pth')
    assert resumed.iter == 6 and not trained_bits(resumed.model)


def test_a_checkpoint_of_few_bits_starts_a_float_training(
    few, plain, train, tmp_path, saved_tasks
) -> None:
    train(few('few'))
    cfg = plain('float')
    cfg.load_from = str(tmp_path / 'few' / 'iter_6.pth')
    assert not trained_bits(train(cfg).model)


def test_a_float_checkpoint_starts_a_training_at_few_bits(
    few, plain, train, tmp_path, saved_tasks
) -> None:
    train(plain('float'))
    start = load(tmp_path / 'float' / 'iter_6.pth')['state_dict']
    cfg = few('few', bits=4)
    cfg.load_from = str(tmp_path / 'float' / 'iter_6.pth')
    cfg.optim_wrapper.optimizer.lr = 0.0
    runner = train(cfg)
    assert torch.equal(runner.model.state_dict()['head.weight'], start['head.weight'])


def test_the_model_is_initialized_before_it_is_quantized(few, train, tmp_path, saved_tasks) -> None:
    cfg = few()
    start = dict(type='Normal', layer='Linear', mean=5.0, std=1.0, bias=2.0)
    cfg.model = dict(type='Initialized', init_cfg=start, classes=3)
    cfg.optim_wrapper.optimizer.lr = 0.0
    runner = train(cfg)
    assert runner.model.state_dict()['head.weight'].mean() > 3
    assert torch.equal(runner.model.head.bias.detach(), torch.full((3,), 2.0))


def test_the_averaged_model_computes_at_few_bits(few, train, monkeypatch, saved_tasks) -> None:
    validated = []
    monkeypatch.setattr(
        'mmengine.model.BaseModel.val_step',
        lambda self, data: validated.append(self.head.weight.clone()) or [0],
    )
    runner = train(few(bits=1, ema=True))
    averaged = next(h for h in runner.hooks if isinstance(h, EMAHook)).ema_model.module
    assert trained_bits(averaged) == {'head': 1}
    assert torch.equal(validated[-1], averaged.head.weight)
    assert not torch.equal(
        averaged.state_dict()['head.weight'], runner.model.state_dict()['head.weight']
    )


def test_the_task_file_is_the_validated_model(few, train, tmp_path) -> None:
    runner = train(few(bits=4, ema=True))
    averaged = next(h for h in runner.hooks if isinstance(h, EMAHook)).ema_model.module
    expected, bias = averaged.head.weight.detach(), averaged.head.bias.detach()
    load_task(runner.model, tmp_path / 'run' / 'last.task.safetensors')
    assert not list(parametrized_weights(runner.model))
    assert torch.equal(runner.model.head.weight, expected)
    assert torch.equal(runner.model.head.bias, bias)


def test_mmengine_tests_a_checkpoint_as_it_was_trained(few, train, tmp_path, saved_tasks) -> None:
    trained = train(few(bits=1)).model.head.weight.detach()
    cfg = few('test', bits=8)  # the bits in the checkpoint count
    cfg.load_from = str(tmp_path / 'run' / 'iter_6.pth')
    cfg.merge_from_dict(
        dict(test_cfg={}, test_dataloader=cfg.val_dataloader, test_evaluator=cfg.val_evaluator)
    )
    runner = Runner.from_cfg(cfg)
    runner.test()
    assert trained_bits(runner.model) == {'head': 1}
    assert torch.equal(runner.model.head.weight.detach(), trained)


def test_a_layer_that_starts_at_zero_is_named(few, train, saved_tasks) -> None:
    cfg = few()
    start = dict(type='Constant', layer='Linear', val=0.0)
    cfg.model = dict(type='Initialized', init_cfg=start, classes=3)
    with pytest.raises(ValueError, match='^head: .* it is constant.*give this layer 16 bits'):
        train(cfg)


def test_a_task_to_start_from_replaces_a_constant_layer(few, train, tmp_path) -> None:
    first = train(few('first', bits=4)).model.head.weight.detach()
    cfg = few('second', bits=4)
    start = dict(type='Constant', layer='Linear', val=0.0)
    cfg.model = dict(type='Initialized', init_cfg=start, classes=3)
    task = str(tmp_path / 'first' / 'last.task.safetensors')
    cfg.custom_hooks.append(dict(type='mmqadapter.InitTaskHook', task=task))
    cfg.optim_wrapper.optimizer.lr = 0.0
    torch.testing.assert_close(train(cfg).model.head.weight.detach(), first, rtol=0.2, atol=0.2)


@pytest.mark.parametrize('pattern', ['neck.*', '.*adapters', '.*trunk.*', 'hea'])
def test_a_pattern_that_matches_nothing(few, train, saved_tasks, pattern) -> None:
    cfg = few()
    cfg.custom_hooks[-1]['bits'] = {pattern: 4}
    with pytest.raises(ValueError, match="matches no linear .* such as 'head'"):
        train(cfg)


def test_a_second_hook_is_refused(few, train, saved_tasks) -> None:
    cfg = few()
    cfg.custom_hooks.append(dict(type='mmqadapter.QuantizeTaskHook', bits=8))
    with pytest.raises(ValueError, match='lists QuantizeTaskHook twice; put all patterns into one'):
        train(cfg)


@pytest.mark.parametrize(
    ('bits', 'text'),
    [
        ({'head': 3}, "'head': 3} is invalid: expected 1, 2"),
        (32, 'bits=32 is invalid: .*; to train in float, leave QuantizeTaskHook out'),
        ({}, 'no layer is named'),
        (5, 'head_bits=5 is invalid: expected 32 or 16'),
    ],
)
def test_bad_bits_are_refused_before_anything_is_built(bits, text) -> None:
    with pytest.raises(ValueError, match=text):
        QuantizeTaskHook(bits)


def test_a_bare_backbone_is_refused(few, train, saved_tasks) -> None:
    cfg = few()
    cfg.model.fingerprint = None
    with pytest.raises(ValueError, match='TinyModel has no wrapped backbone'):
        train(cfg)


def test_a_step_quantizes_its_layers_together(few, train, saved_tasks, monkeypatch) -> None:
    cache_hits = []
    real = LayerQuantizer.forward

    def forward(quantizer: LayerQuantizer, weight: torch.Tensor) -> torch.Tensor:
        if quantizer.training and torch.is_grad_enabled():
            cache_hits.append(quantizer.cached.get(weight) is not None)
        return real(quantizer, weight)

    monkeypatch.setattr(LayerQuantizer, 'forward', forward)
    train(few())
    assert cache_hits and all(cache_hits)
