"""A model trains on the class scores of a teacher: value, gradient, run, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, MODELS
from mmengine.runner import Runner
from test_exact_resume_hook import assert_same_run, load
from torch import Tensor, nn

from mmqadapter.hooks import DistillationHook
from mmqadapter.hooks.distillation_hook import class_divergence

CLASSES = ('a', 'b', 'c')


class Listed(nn.Module):
    """Layer whose output is a list."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


@MODELS.register_module(force=True)
class LayeredModel(MODELS.get('TinyModel')):
    """Tiny model without dropout, with layers that give no class scores.

    ``twice`` runs twice in a step, ``rest`` only in prediction, and ``listed`` returns a list.
    """

    def __init__(
        self, data_preprocessor: dict | None = None, use_sigmoid: bool = False, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.head.use_sigmoid = use_sigmoid
        if data_preprocessor:
            self.data_preprocessor = MODELS.build(data_preprocessor)
        self.dropout = nn.Identity()
        self.twice, self.rest = nn.Linear(4, 4), nn.Linear(4, 4)
        self.listed = Listed()

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        features = self.twice(self.twice(self.listed(inputs)[0]))
        if mode != 'loss':
            features = self.rest(features)
        return super().forward(inputs + 0 * features, mode)


@pytest.fixture
def config(tiny):
    """``config('name', classes)``: a config of the model."""

    def build(name: str, classes: tuple[str, ...] = CLASSES) -> Config:
        cfg = tiny(name)
        cfg.model = dict(type='LayeredModel', classes=len(classes))
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            loader.dataset.type = 'NamedData'
            loader.dataset.classes = classes
        return cfg

    return build


@pytest.fixture(autouse=True)
def named_data() -> None:
    """Data whose class names a config gives."""
    noisy = DATASETS.get('NoisyData')

    @DATASETS.register_module(force=True)
    class NamedData(noisy):
        def __init__(self, classes: tuple[str, ...]) -> None:
            self.metainfo = {'classes': tuple(classes), 'palette': [(1, 2, 3)] * len(classes)}


@pytest.fixture
def teacher(config, train, tmp_path: Path) -> dict[str, str]:
    """Config and checkpoint of a trained model."""
    cfg = config('teacher')
    cfg.randomness = dict(seed=3)
    train(cfg)
    path = tmp_path / 'teacher.py'
    cfg.dump(path)
    return dict(config=str(path), weights=str(tmp_path / 'teacher/last.task.safetensors'))


def with_hook(cfg: Config, **settings: Any) -> Config:
    cfg.custom_hooks.append({'type': 'mmqadapter.DistillationHook', 'layer': 'head', **settings})
    return cfg


def test_the_divergence_of_two_distributions() -> None:
    teacher = torch.tensor([[0.8, 0.2], [0.5, 0.5]]).log()
    scores = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
    expected = (0.8 * torch.tensor(1.6).log() + 0.2 * torch.tensor(0.4).log()) / 2
    torch.testing.assert_close(class_divergence(scores, teacher, 1.0), expected)
    torch.testing.assert_close(class_divergence(2 * scores, 2 * teacher, 2.0), 4 * expected)


def test_each_pixel_counts_as_an_image_does() -> None:
    scores, teacher = torch.randn(6, 5), torch.randn(6, 5)
    maps = (part.T.reshape(1, 5, 2, 3) for part in (scores, teacher))
    torch.testing.assert_close(class_divergence(*maps, 3.0), class_divergence(scores, teacher, 3.0))


def test_the_loss_is_added_to_those_of_the_model(config, teacher) -> None:
    runner = Runner.from_cfg(with_hook(config('student'), **teacher, loss_weight=0.5))
    inputs = torch.randn(6, 4)
    (scores,) = runner.model(inputs)
    plain = runner.model(inputs, mode='loss')
    hook = next(hook for hook in runner.hooks if isinstance(hook, DistillationHook))
    hook.before_train(runner)
    (target,) = hook._teacher(inputs)
    losses = runner.model(inputs, mode='loss')
    expected = 0.5 * class_divergence(scores, target, 2.0)
    torch.testing.assert_close(losses.pop('loss_distillation'), expected)
    torch.testing.assert_close(losses, plain)
    assert expected > 0 and torch.is_tensor(runner.model(inputs)[0])
    assert not any(p.requires_grad for p in hook._teacher.parameters())


def test_a_model_learns_its_teachers_scores(config, teacher, train) -> None:
    cfg = with_hook(config('student'), **teacher, loss_weight=100.0, temperature=1.0)
    cfg.train_cfg.update(max_iters=60, val_interval=30)
    cfg.param_scheduler = None
    cfg.val_evaluator.scores = [0.5] * 2
    runner = train(cfg)
    losses = runner.message_hub.get_scalar('train/loss_distillation').data[0]
    assert losses[-5:].mean() < 0.2 * losses[:5].mean()
    hooks = [module._forward_hooks for module in runner.model.modules()]
    assert not any(hooks), 'training has ended'


def test_checkpoints_and_the_random_numbers_of_a_run_have_nothing_of_the_teacher(
    config, teacher, train, tmp_path
) -> None:
    train(config('plain'))
    cfg = with_hook(config('distilled'), **teacher, loss_weight=1e-30)
    cfg.custom_hooks.append(dict(type='EMAHook'))
    train(cfg)
    plain, distilled = (load(tmp_path / name / 'iter_6.pth') for name in ('plain', 'distilled'))
    own = {name.removeprefix('module.'): x for name, x in distilled['ema_state_dict'].items()}
    assert own.pop('steps') == 6  # the hook swaps the averaged weights and those of the last step
    torch.testing.assert_close(own, dict(plain['state_dict']), rtol=0, atol=0)
    assert distilled['state_dict'].keys() == plain['state_dict'].keys()


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(
    config, teacher, train, tmp_path
) -> None:
    train(with_hook(config('whole'), **teacher))
    train(with_hook(config('resumed'), **teacher), resume=tmp_path / 'whole/iter_3.pth')
    assert_same_run(tmp_path / 'whole/iter_6.pth', tmp_path / 'resumed/iter_6.pth')


def test_a_checkpoint_is_a_teacher_too(config, teacher, train, tmp_path) -> None:
    task = str(tmp_path / 'teacher/iter_6.pth')
    runner = train(with_hook(config('student'), **{**teacher, 'weights': task}))
    assert 'train/loss_distillation' in runner.message_hub.log_scalars


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(loss_weight=0.0), 'loss_weight=0.0 is invalid: expected a positive number'),
        (dict(loss_weight=float('nan')), 'loss_weight=nan is invalid'),
        (dict(temperature=-1), 'temperature=-1 is invalid'),
        (dict(temperature='2'), "temperature='2' is invalid"),
        (dict(loss_weight=float('inf')), 'loss_weight=inf is invalid'),
    ],
)
def test_settings_are_positive_numbers(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillationHook('config.py', 'task', 'head', **settings)


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        ('head.fc', r"layer='head.fc' is not a layer of LayeredModel; expected one of \['head'"),
        ('', "layer='' is not a layer"),
        ('twice', r'gave \[\(2, 4\), \(2, 4\)\] in this step.* expected one output each'),
        ('rest', r'gave \[\] in this step, that of the teacher \[\(2, 4\)\]'),
    ],
)
def test_the_layer_gives_one_output_in_a_step(config, teacher, train, layer, message) -> None:
    with pytest.raises(ValueError, match=message):
        train(with_hook(config('student'), **teacher, layer=layer))


def test_a_single_class_has_no_distribution(config, train, tmp_path) -> None:
    cfg = config('one', ('a',))
    train(cfg)
    cfg.dump(tmp_path / 'one.py')
    files = dict(
        config=str(tmp_path / 'one.py'), weights=str(tmp_path / 'one/last.task.safetensors')
    )
    with pytest.raises(ValueError, match='with at least two classes in dimension 1'):
        train(with_hook(config('student', ('a',)), **files))


def test_other_classes_are_refused(config, teacher, train) -> None:
    with pytest.raises(ValueError, match=r"its classes differ .*\['b', 'a', 'c'\]"):
        train(with_hook(config('student', ('b', 'a', 'c')), **teacher))


def test_another_normalization_is_refused(config, teacher, train) -> None:
    cfg = with_hook(config('student'), **teacher)
    cfg.model.data_preprocessor = dict(
        type='ImgDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[1.0] * 3
    )
    with pytest.raises(ValueError, match='its data_preprocessor differ'):
        train(cfg)


def test_a_missing_teacher_is_named(config, teacher, train) -> None:
    with pytest.raises(
        FileNotFoundError, match='teacher of DistillationHook: .*absent.task.safetensors'
    ):
        train(with_hook(config('student'), **{**teacher, 'weights': 'absent.task.safetensors'}))


def test_a_detector_is_refused(config, teacher, train) -> None:
    cfg = with_hook(config('student'), **teacher)
    cfg.default_scope = 'mmdet'
    with pytest.raises(ValueError, match='a detector scores other boxes'):
        train(cfg)


def test_a_model_that_ignores_hooks_is_noticed(config, teacher, train, monkeypatch) -> None:
    monkeypatch.setattr(DistillationHook, '_add_loss', lambda *args: None)
    with pytest.raises(ValueError, match='lack loss_distillation, so nothing was distilled'):
        train(with_hook(config('student'), **teacher))


def test_a_layer_of_a_list_is_no_layer_of_scores(config, teacher, train) -> None:
    with pytest.raises(ValueError, match=r"gave \['list'\] in this step.* expected one output"):
        train(with_hook(config('student'), **teacher, layer='listed'))


def test_a_head_of_sigmoids_is_refused(config, teacher, train) -> None:
    cfg = with_hook(config('student'), **teacher)
    cfg.model.use_sigmoid = True
    with pytest.raises(ValueError, match=r'scores each class on its own \(use_sigmoid=True\)'):
        train(cfg)


def test_two_teachers_are_refused(config, teacher, train) -> None:
    with pytest.raises(ValueError, match='custom_hooks lists DistillationHook twice'):
        train(with_hook(with_hook(config('student'), **teacher), **teacher))


def test_a_teacher_without_all_weights_is_refused(config, teacher, train, tmp_path) -> None:
    state = load(tmp_path / 'teacher/iter_6.pth')['state_dict']
    state.pop('head.bias')
    torch.save(state, tmp_path / 'part.pth')
    message = r"teacher of DistillationHook: .* lacks 1 trainable parameter.*'head.bias'"
    with pytest.raises(ValueError, match=message):
        train(with_hook(config('student'), **{**teacher, 'weights': str(tmp_path / 'part.pth')}))


def test_a_run_after_an_error_starts_afresh(config, teacher) -> None:
    cfg = with_hook(config('student'), **teacher)
    cfg.custom_hooks.append(dict(type='Failing'))
    runner = Runner.from_cfg(cfg)
    with pytest.raises(RuntimeError, match='on purpose'):
        runner.train()
    runner.train()
    assert runner.iter == 6


def test_outputs_outside_of_a_step_do_not_count(config, teacher, train) -> None:
    cfg = with_hook(config('student'), **teacher)
    cfg.custom_hooks.append(dict(type='Calling'))
    assert train(cfg).iter == 6


@HOOKS.register_module(force=True)
class Failing(Hook):
    """Hook that raises in the second step of a first training."""

    failed = False

    def after_train_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        if batch_idx == 1 and not self.failed:
            self.failed = True
            raise RuntimeError('on purpose')


@HOOKS.register_module(force=True)
class Calling(Hook):
    """Hook that calls the layer between two steps."""

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        runner.model.head(torch.ones(1, 4))
