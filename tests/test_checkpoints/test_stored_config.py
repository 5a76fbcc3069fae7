"""The config in a checkpoint is parsed, and refused if it has more than plain values."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmqadapter.checkpoints.stored_config import parse_config, stored_config


def stored(cfg: dict) -> Config:
    return stored_config({'meta': {'cfg': Config(cfg).pretty_text}})


def test_text_of_mmengine_gives_the_config_back() -> None:
    cfg = dict(
        model=dict(type='mmseg.EncoderDecoder', scale=-1.5, norm=None, sizes=[(1, 2), ()]),
        custom_imports=dict(imports=['mmqadapter']),
        odd={'0.backbone': dict(lr=0.1), 3: 'x'},
        flag=True,
    )
    assert stored(cfg).to_dict() == cfg


@pytest.mark.parametrize(
    'text',
    ['a = open("x")', 'import os', 'a = dict(1)', 'a = dict(**b)', 'a.b = 1', 'a = (', 'f()'],
)
def test_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='more than plain values.*--config'):
        parse_config(text)


@pytest.mark.parametrize(
    'kind', ['os.system', 'mmengine.load', 'mmdet.models.X', 'torch.nn.Module']
)
def test_a_type_outside_the_registries_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f'builds {kind!r}; expected .*--config'):
        stored(dict(model=dict(type='A', parts=[dict(type=kind)])))


def test_a_single_import_may_be_a_string() -> None:
    cfg = dict(custom_imports=dict(imports='mmqadapter'))
    assert stored(cfg).to_dict() == cfg
    with pytest.raises(ValueError, match=r"imports \['mine'\]"):
        stored(dict(custom_imports=dict(imports='mine')))


def test_foreign_imports_and_no_config_are_refused() -> None:
    with pytest.raises(ValueError, match='imports.*mine'):
        stored(dict(custom_imports=dict(imports=['mine'])))
    with pytest.raises(ValueError, match='carries no config'):
        stored_config({'meta': {}})
