"""DDP stops where a parameter has no gradient; it is named before."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('mmseg')
pytestmark = pytest.mark.slow

UNREAD = """
_base_ = {base!r}
model = dict(decode_head=dict(
    _delete_=True, type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1,
    num_classes=3, norm_cfg=dict(type='GN', num_groups=4),
    loss_decode=dict(type='CrossEntropyLoss')))
"""
NORM = 'no gradient reached backbone.adapters.highway.norms.0 (2 tensors) in the first step'
OWN_WORDS = 'Expected to have finished reduction'


@pytest.fixture(scope='module')
def unread(upernet_highway: str) -> str:
    """Config of a highway with two maps, of which the head reads the second."""
    path = Path(upernet_highway).with_name('unread.py')
    path.write_text(UNREAD.format(base=upernet_highway))
    return str(path)


@pytest.mark.parametrize('options', [[], ['optim_wrapper.accumulative_counts=2']])
def test_ddp_stops_in_our_words(unread, launch_to_fail, tmp_path, options) -> None:
    arguments = ['--cfg-options', *options] if options else []
    printed = launch_to_fail('dist_train.sh', unread, '2', '--work-dir', str(tmp_path), *arguments)
    assert f'{NORM}, so DDP would stop in the next one: leave maps that no head' in printed
    assert OWN_WORDS not in printed


def test_ddp_itself_stops_there(unread, launch_to_fail, tmp_path) -> None:
    """Else the hook would stop what DDP trains."""
    path = Path(unread).with_name('unread_without_hook.py')
    path.write_text(
        f'_base_ = {unread!r}\n'
        "custom_hooks = [*_base_.custom_hooks, dict(type='WithoutMissingGradientHook')]\n"
    )
    printed = launch_to_fail('dist_train.sh', str(path), '2', '--work-dir', str(tmp_path))
    assert OWN_WORDS in printed and 'no gradient' not in printed


@pytest.mark.parametrize('processes', [1, 2])
def test_the_remedy_trains(unread, launch, tmp_path, processes) -> None:
    find = ['--cfg-options', 'find_unused_parameters=True'] if processes > 1 else []
    script = ['dist_train.sh', unread, '2'] if processes > 1 else ['train.py', unread]
    printed = launch(*script, '--work-dir', str(tmp_path), *find)
    assert f'{NORM}, so it does not train. For DDP, leave maps' in printed
    assert (tmp_path / 'last.task.safetensors').is_file()


def test_the_other_remedy_trains(unread, launch, tmp_path) -> None:
    options = ['model.backbone.backbone.out_indices=(1,)', 'model.decode_head.in_index=0']
    printed = launch(
        'dist_train.sh', unread, '2', '--work-dir', str(tmp_path), '--cfg-options', *options
    )
    assert 'no gradient' not in printed
