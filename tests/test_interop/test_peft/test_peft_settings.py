"""adapter_config.json of any origin."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmqadapter.interop.peft.settings import PeftSettings, read_settings

PLAIN: dict[str, Any] = dict(peft_type='LORA', r=4, lora_alpha=8, target_modules=['qkv'])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'adapter_config.json'


def test_scale_is_alpha_divided_by_rank(file: Path) -> None:
    file.write_text(json.dumps(PLAIN))
    assert read_settings(file) == PeftSettings(4, 8) and read_settings(file).scale == 2.0
    file.write_text(json.dumps({**PLAIN, 'use_rslora': True}))
    assert read_settings(file).scale == 4.0


@pytest.mark.parametrize('scale', [1.0, 0.1, 1 / 3, 2.5, -1.7, 10.0, 1e-3, math.pi])
@pytest.mark.parametrize('rank', [1, 6, 8, 12, 64])
def test_scale_survives(file: Path, scale: float, rank: int) -> None:
    file.write_text(PeftSettings.of_scale(scale, rank).text(['a', 'b']))
    assert read_settings(file).scale == pytest.approx(scale, rel=3e-16)
    content = json.loads(file.read_text())
    assert content['target_modules'] == ['a', 'b'] and content['bias'] == 'none'


def test_integer_alpha_is_written_as_an_integer() -> None:
    assert '"lora_alpha": 8,' in PeftSettings.of_scale(2.0, 4).text([])


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (dict(use_dora=True), "'use_dora'=True, which our LoRA does not support"),
        (dict(bias='lora_only'), "'bias'='lora_only'"),
        (dict(lora_bias=True), 'lora_bias'),
        (dict(modules_to_save=['head']), r"'modules_to_save'=\['head'\].*nothing else trained"),
        (dict(rank_pattern={'blocks.0': 2}), 'rank_pattern'),
        (dict(alpha_pattern={'blocks.0': 2}), 'alpha_pattern'),
        (dict(fan_in_fan_out=True), 'fan_in_fan_out'),
        (dict(layer_replication=[[0, 2]]), 'layer_replication'),
        (dict(trainable_token_indices=[1]), 'trainable_token_indices'),
        (dict(of_a_later_version={'a': 1}), 'of_a_later_version'),
        (dict(init_lora_weights='pissa_niter_4'), 'pissa_niter_4.*plain LoRA'),
        (dict(init_lora_weights=[]), 'init_lora_weights'),
        (dict(peft_type='IA3'), "peft_type='IA3'; expected 'LORA'"),
        (dict(peft_type=None), 'peft_type=None'),
        (dict(r=0), 'r=0; expected a rank from 1 to 4096'),
        (dict(r=True), 'r=True'),
        (dict(r=10**30), 'r=1000'),
        (dict(r='8'), "r='8'"),
        (dict(lora_alpha=0), 'lora_alpha=0; expected a number other than 0'),
        (dict(lora_alpha=float('nan')), 'lora_alpha=nan'),
        (dict(lora_alpha=10**400), 'lora_alpha=1000'),
        (dict(lora_alpha=None), 'lora_alpha=None'),
        (dict(use_rslora=1), 'use_rslora=1'),
    ],
    ids=str,
)
def test_settings_that_change_the_function_are_refused_by_name(
    file: Path, change: dict[str, Any], text: str
) -> None:
    file.write_text(json.dumps({**PLAIN, **change}))
    with pytest.raises(ValueError, match=text) as caught:
        read_settings(file)
    assert 'adapter_config.json' in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    'text', ['', '7', '[]', '{"r": ', '[' * 100_000, '\0'], ids=lambda t: t[:9]
)
def test_files_without_settings_are_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(
        ValueError, match='adapter_config.json.*(is not valid JSON|expected the settings of PEFT)'
    ):
        read_settings(file)


def test_long_file_is_refused(file: Path) -> None:
    file.write_bytes(b' ' * (2**20 + 1))
    with pytest.raises(ValueError, match='longer than 1,048,576 bytes'):
        read_settings(file)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=100))
def test_any_bytes_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match='adapter_config.json'):
        read_settings(file)
