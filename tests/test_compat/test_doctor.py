"""`mmqadapter doctor`: what does not go together is found, with a remedy; else it says so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from mmqadapter.cli import doctor, main
from mmqadapter.compat.doctor import (
    Finding,
    imports,
    installed,
    operators,
    operators_findings,
    version_findings,
)

GOOD = {
    'torch': {'torch': '2.1.2'},
    'numpy': {'numpy': '1.26.4'},
    'cv2': {'opencv-python-headless': '4.9.0.80'},
    'mmengine': {'mmengine': '0.10.7'},
    'mmcv': {'mmcv': '2.1.0'},
    'mmdet': {'mmdet': '3.3.0'},
    'mmseg': {'mmsegmentation': '1.2.2'},
}


def findings(**changes: dict[str, str]) -> list[Finding]:
    return version_findings({**GOOD, **changes})


def test_a_common_installation_is_sound() -> None:
    assert findings() == []
    assert findings(mmdet={}) == []  # mmseg alone will do


def test_of_packages_in_two_folders_the_imported_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_distribution(tmp_path / 'first', 'mmcv')
    write_distribution(tmp_path / 'then', 'mmcv-lite')
    monkeypatch.setattr(sys, 'path', [str(tmp_path / folder) for folder in ('first', 'then')])
    assert installed()['mmcv'] == {'mmcv': '9.1'}
    write_distribution(tmp_path / 'first', 'onedl-mmcv')
    assert installed()['mmcv'] == {'mmcv': '9.1', 'onedl-mmcv': '9.1'}


def write_distribution(folder: Path, name: str) -> None:
    info = folder / f'{name.replace("-", "_")}-9.1.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 9.1\n')


@pytest.mark.parametrize(
    ('changes', 'fact', 'remedy'),
    [
        (dict(mmcv={}), 'mmcv is not installed', r"mmqadapter\[det,seg\]"),
        (dict(mmdet={}, mmseg={}), 'neither mmdet nor mmseg', r"mmqadapter\[det\]"),
        (dict(mmcv={'mmcv': '2.1.0', 'onedl-mmcv': '2.3.6'}), 'mmcv and onedl-mmcv both provide',
         'uninstall -y mmcv onedl-mmcv'),
        (dict(mmengine={'mmengine': '0.10.7', 'onedl-mmengine': '0.10.12'}), 'both provide mmeng',
         'uninstall'),
        (dict(torch={'torch': '2.0.1+cu118'}), r'torch is 2\.0\.1', 'torch>=2.1'),
        (dict(numpy={'numpy': '2.2.6'}), r'torch 2\.1\.2 needs numpy 1, and numpy is 2\.2\.6',
         'numpy<2'),
        (dict(numpy={'numpy': '2.2.6'}, torch={'torch': '2.6.0'}),
         r'opencv-python-headless 4\.9\.0\.80 needs numpy 1', 'numpy<2'),
    ],
)  # fmt: skip
def test_conflicts_of_versions(changes: dict, fact: str, remedy: str) -> None:
    first = findings(**changes)[0]
    assert first.conflict
    assert re.search(fact, first.fact)
    assert re.search(remedy, first.remedy)


def test_two_builds_of_opencv_are_common_and_work() -> None:
    both = {'opencv-python': '4.9.0.80', 'opencv-python-headless': '4.9.0.80'}
    assert findings(cv2=both) == []


def test_missing_operators_are_a_note() -> None:
    (note,) = operators_findings('ours', {'mmcv-lite': '2.1.0'})
    assert not note.conflict
    assert 'those of mmqadapter' in note.fact
    assert 'uninstall -y mmcv-lite' in note.remedy and note.remedy.endswith('mmcv==2.1.0')


def test_operators_of_another_torch_are_a_conflict() -> None:
    (conflict,) = operators_findings('broken: undefined symbol: _ZN3c10', {'mmcv': '2.1.0'})
    assert conflict.conflict
    assert 'compiled for another torch (undefined symbol: _ZN3c10)' in conflict.fact
    assert '--no-build-isolation' in conflict.remedy and 'mmcv-lite==2.1.0' in conflict.remedy


def test_a_broken_operator_module_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError('undefined\n symbol')

    module = sys.modules['mmqadapter.compat.doctor.operators']
    monkeypatch.setattr(module, 'import_module', fail)
    assert operators() == 'broken: undefined symbol'


def test_a_package_that_does_not_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        if name == 'mmdet.models':
            raise AssertionError('MMCV==2.2.0 is used but incompatible.')

    monkeypatch.setattr(imports, 'import_module', fail)
    (finding,) = imports.import_findings()
    assert finding.fact == (
        '`import mmdet.models` fails: AssertionError: MMCV==2.2.0 is used but incompatible.'
    )
    assert 'mmdet 3.3 needs mmcv 2.1' in finding.remedy


def test_this_environment_is_sound(capsys: pytest.CaptureFixture) -> None:
    assert main.main(['doctor']) == 0
    printed = capsys.readouterr().out
    version = installed()['torch']['torch']
    assert f'torch {version}' in printed and 'mmcv operators' in printed
    assert 'Everything here goes together.' in printed


def test_a_conflict_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(doctor, 'installed', lambda: {**GOOD, 'torch': {'torch': '1.13.1'}})
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert 'conflict: torch is 1.13.1' in printed and 'remedy: pip install' in printed
    assert 'goes together' not in printed
