"""Shipped configs are found by name, and messages name nothing that only a clone has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from test_configs import offline

from mmqadapter.backbones import HighwayBackbone
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.studies.sweep.plan import read_sweep
from mmqadapter.utils import shipped
from mmqadapter.utils.shipped import PACKAGE, configs_folder, find_config, find_sweep

CONFIG = 'zoo/upernet_swin-b_160k_ade20k.py'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder outside of the clone."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    'name',
    [
        CONFIG,
        f'configs/{CONFIG}',
        f'mmqadapter::{CONFIG}',
        CONFIG.removesuffix('.py'),
        Path(CONFIG).name,
        Path(CONFIG).stem,
        str(configs_folder() / CONFIG),
    ],
)
def test_a_shipped_config_is_found_by_name(name: str) -> None:
    assert find_config(name) == configs_folder() / CONFIG


def test_a_file_comes_first(tmp_path: Path) -> None:
    file = tmp_path / Path(CONFIG).name
    file.write_text('answer = 42')
    assert load_config(file.name).answer == 42
    assert load_config(file.stem).get('answer') is None


def test_names_are_unique() -> None:
    for suffix in ('.py', '.yaml'):
        names = [path.stem for path in shipped._shipped(suffix)]
        assert len(names) > 9 and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('upernet_swin-b_160k_ade20', 'did you mean upernet_swin-b_160k_ade20k or upernet_swin-'),
        ('other/demo-seg.py', r"there is no config 'other/demo-seg.py'; did you mean demo_seg"),
        ('xyz', r"no config 'xyz'; expected a file, or the name of one in '.*configs'\."),
        ('_base_/methods/highway.py', "no config '_base_/methods/highway.py'"),
        ('.', r"there is no config '\.'"),
    ],
)
def test_an_unknown_name_gets_advice(name: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        find_config(name)


def test_sweep_files_are_found_by_name() -> None:
    assert find_sweep('camvid') == configs_folder() / 'sweeps/camvid.yaml'
    with pytest.raises(FileNotFoundError, match="no sweep file 'camvit'; did you mean camvid"):
        find_sweep('camvit')
    assert read_sweep('camvid').config.filename.endswith('upernet_vit-tiny_qadapter_camvid.py')


def test_a_sweep_file_elsewhere_names_a_shipped_config(tmp_path: Path) -> None:
    text = (configs_folder() / 'sweeps/camvid.yaml').read_text()
    relative = 'config: ../upernet_vit-tiny_qadapter_camvid.py'
    assert relative in text
    own = tmp_path / 'own.yaml'
    own.write_text(text.replace(relative, 'config: upernet_vit-tiny_qadapter_camvid'))
    assert read_sweep(own).config.model == read_sweep('camvid').config.model
    own.write_text(text.replace(relative, 'config: upernet_vit-tiny_qadapter_camvit'))
    with pytest.raises(FileNotFoundError, match='did you mean upernet_vit-tiny_qadapter_camvid'):
        read_sweep(own)


def test_a_clone_without_links_has_its_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = configs_folder() / CONFIG
    monkeypatch.setattr(shipped, 'FOLDERS', (PACKAGE / 'absent', PACKAGE.parent / 'configs'))
    assert find_config(CONFIG).samefile(expected)
    monkeypatch.setattr(shipped, 'FOLDERS', (PACKAGE / 'absent',))
    with pytest.raises(FileNotFoundError, match='mmqadapter is not complete; install it again'):
        find_config(CONFIG)


@pytest.mark.parametrize('name', ['_base_/methods/highway.py', CONFIG, 'demo_seg.py', 'demo_seg'])
def test_configs_elsewhere_inherit_shipped_ones(tmp_path: Path, name: str) -> None:
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = 'mmqadapter::{name}'\nanswer = 42\n")
    cfg = Config.fromfile(own)
    assert cfg.pop('answer') == 42
    file = (configs_folder() / name).with_suffix('.py')
    assert cfg.to_dict() == Config.fromfile(file).to_dict()  # in the scope that they have there


def test_an_unknown_base_gets_advice(tmp_path: Path) -> None:
    (tmp_path / 'own.py').write_text("_base_ = 'mmqadapter::demo_sek.py'")
    with pytest.raises(FileNotFoundError, match='no config .*demo_sek.py.; did you mean demo_seg'):
        Config.fromfile('own.py')


def test_a_config_of_mmseg_takes_a_shipped_method(tmp_path: Path) -> None:
    net = 'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
    wrapped = 'dict(_delete_=True, backbone=_base_.model.backbone, **_base_.method)'
    (tmp_path / 'own.py').write_text(
        f"_base_ = ['mmseg::{net}', 'mmqadapter::_base_/methods/highway.py', "
        f"'mmqadapter::_base_/tuning.py']\nmodel = dict(backbone={wrapped})\n"
    )
    model = build_model(offline(load_config('own.py')))
    assert isinstance(model.backbone, HighwayBackbone)


def test_the_hub_of_mmengine_finds_shipped_configs() -> None:
    assert get_config(f'mmqadapter::{CONFIG}').model == load_config(CONFIG).model


def literals(file: Path) -> Iterator[str]:
    """Texts of a module that are not docstrings."""
    tree = ast.parse(file.read_text())
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.value


def test_messages_name_no_file_of_a_clone() -> None:
    for file in PACKAGE.rglob('*.py'):
        if file.stem == 'shipped' or '.mim' in file.parts:
            continue
        for text in literals(file):
            only_in_a_clone = re.search(r"(?<![:\w/])(tools|configs|docs|benchmarks)/|'\.\[", text)
            assert not only_in_a_clone, f'{file} says {text!r}'
