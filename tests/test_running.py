from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmqadapter.running import build_model, load_config, require_data


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


def test_a_model_is_built_in_the_scope_of_its_config() -> None:
    head = dict(type='FCNHead', in_channels=4, channels=4, num_classes=2, num_convs=0)
    model = dict(type='EncoderDecoder', backbone=dict(type='ResNetV1c', depth=18), decode_head=head)
    for scope, names in (('mmseg', model), ('mmdet', {**model, '_scope_': 'mmseg'})):
        built = build_model(Config(dict(default_scope=scope, model=names)))
        assert type(built).__module__.startswith('mmseg.')
