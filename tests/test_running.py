from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmqadapter.benchmark.settings import Settings
from mmqadapter.budget.blank_model import BlankModel
from mmqadapter.running import build_model, load_config, require_data, training_runner

ROOT = Path(__file__).parents[1]


def test_a_config_gets_overrides_and_a_work_dir(tmp_path: Path) -> None:
    (tmp_path / 'name.py').write_text('a = dict(b=1, c=2)\n')
    cfg = load_config(tmp_path / 'name.py', {'a.b': 5})
    assert cfg.a == dict(b=5, c=2) and cfg.work_dir == 'work_dirs/name'
    with pytest.raises(FileNotFoundError, match='no/such.py'):
        load_config('no/such.py')


@pytest.mark.parametrize('wrap', [False, True])
def test_a_missing_data_root_is_found_through_wrappers(tmp_path: Path, wrap: bool) -> None:
    dataset = dict(type='CocoDataset', data_root='no/data')
    cfg = Config(dict(val_dataloader=dict(
        dataset=dict(type='RepeatDataset', dataset=dataset) if wrap else dataset
    )))  # fmt: skip
    require_data(cfg, 'train')
    with pytest.raises(FileNotFoundError, match='no/data.*val.*MMQADAPTER_DATA'):
        require_data(cfg, 'train', 'val')
    dataset['data_root'] = str(tmp_path)
    require_data(Config(dict(val_dataloader=dict(dataset=dataset))), 'val')


@pytest.mark.parametrize('amp', [False, True])
def test_mixed_precision_needs_a_gpu(monkeypatch: pytest.MonkeyPatch, amp: bool) -> None:
    monkeypatch.setattr('mmqadapter.running.get_device', lambda: 'cpu')
    kind = 'OptimWrapper' if amp else 'mmengine.AmpOptimWrapper'
    cfg = Config(dict(work_dir='none', optim_wrapper=dict(type=kind)))
    with pytest.raises(ValueError, match='AmpOptimWrapper.* needs a GPU.*leave --amp out'):
        training_runner(cfg, amp=amp)


SNIPPETS = {'README.md': 'AdaptedBackbone', 'docs/zoo.md': 'AdaptedBackbone'}


@pytest.mark.parametrize('page', SNIPPETS)
def test_the_config_that_a_page_shows(page: str, tmp_path: Path) -> None:
    """It wraps the inherited net, trains what the page says, and saves task files."""
    text = (ROOT / page).read_text()
    snippet = text.partition('```python\n')[2].partition('```')[0]
    for folder in ('../_base_', './_base_'):
        snippet = snippet.replace(folder, str(ROOT / 'configs/_base_'))
    (tmp_path / 'own.py').write_text(snippet)
    cfg = Config.fromfile(tmp_path / 'own.py')
    assert cfg.default_hooks.checkpoint.type == 'mmqadapter.TaskCheckpointHook'
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    assert cfg.model.backbone.type.endswith(SNIPPETS[page])
    assert cfg.model.backbone.backbone.type == 'SwinTransformer'
    assert 'mmqadapter.ExactResumeHook' in [hook.type for hook in cfg.custom_hooks]


def test_a_config_without_a_model_is_told() -> None:
    for ask in (build_model, Settings(torch.device('cpu')).completed, BlankModel):
        with pytest.raises(ValueError, match='the config has no model'):
            ask(Config(dict(work_dir='none')))


def test_a_model_is_built_in_the_scope_of_its_config() -> None:
    head = dict(type='FCNHead', in_channels=4, channels=4, num_classes=2, num_convs=0)
    model = dict(type='EncoderDecoder', backbone=dict(type='ResNetV1c', depth=18), decode_head=head)
    for scope, names in (('mmseg', model), ('mmdet', {**model, '_scope_': 'mmseg'})):
        built = build_model(Config(dict(default_scope=scope, model=names)))
        assert type(built).__module__.startswith('mmseg.')
