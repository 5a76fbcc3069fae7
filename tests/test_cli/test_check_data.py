from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg')

ROOT = Path(__file__).parents[2]
SEMANTIC = str(ROOT / 'configs/_base_/datasets/custom_semantic.py')
SCOPE = ['--cfg-options', 'default_scope=mmseg']


@pytest.fixture
def check_data():
    spec = importlib.util.spec_from_file_location('check_data', ROOT / 'tools/check_data.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    mask = np.array([[0, 1], [1, 255]], np.uint8)
    for split in ('train', 'val'):
        for kind, suffix in (('images', 'jpg'), ('annotations', 'png')):
            folder = tmp_path / kind / split
            folder.mkdir(parents=True)
            Image.fromarray(mask).save(folder / f'{split}.{suffix}')
    Image.fromarray(255 - mask).save(tmp_path / 'images/val/val.jpg')
    return tmp_path


def test_sound_data_exit_with_0_and_a_histogram(check_data, data: Path, capsys) -> None:
    assert check_data([SEMANTIC, '--data-root', str(data), *SCOPE]) == 0
    printed = capsys.readouterr().out
    assert 'background' in printed and '66.7%' in printed
    assert '1 train, 1 val images: 0 errors, 0 warnings.' in printed


def test_a_warning_alone_exits_with_0(check_data, data: Path, capsys) -> None:
    (data / 'annotations/val/lost.png').touch()
    assert check_data([SEMANTIC, '--data-root', str(data), *SCOPE]) == 0
    assert '0 errors, 1 warnings' in capsys.readouterr().out


def test_errors_exit_with_1_and_at_most_five_examples(check_data, data: Path, capsys) -> None:
    for number in range(7):
        Image.new('RGB', (2, 2)).save(data / f'images/train/[b]{number}.jpg')
    assert check_data([SEMANTIC, '--data-root', str(data), *SCOPE]) == 1
    printed = capsys.readouterr().out
    assert 'image without annotation' in printed and '7 errors' in printed
    assert '[b]4' in printed and '[b]5' not in printed


def test_cfg_options_reach_the_data_sets(check_data, data: Path, capsys) -> None:
    suffix = 'train_dataloader.dataset.img_suffix=.tif'
    assert check_data([SEMANTIC, '--data-root', str(data), *SCOPE, suffix]) == 1
    assert 'no images' in capsys.readouterr().out


@pytest.mark.parametrize('option', [['--data-root', 'no/such'], []])
def test_a_missing_root_or_config_is_reported_without_a_traceback(
    check_data, option, capsys
) -> None:
    config = SEMANTIC if option else 'no/such/config.py'
    assert check_data([config, *option, *SCOPE]) == 1
    printed = capsys.readouterr()
    assert 'FileNotFoundError' in printed.err and 'no/such' in printed.err
    assert printed.out == '' or 'Using env' in printed.out
