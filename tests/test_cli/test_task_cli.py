from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import Run, tool

from mmqadapter.taskfile.format import read_content


@pytest.fixture
def task(capsys):
    """``task(...)``: exit status, output and last error line of tools/task.py."""

    def call(*args: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = tool('task')([str(arg) for arg in args])
        printed = capsys.readouterr()
        return status, printed.out, (printed.err.strip().splitlines() or [''])[-1]

    return call


def test_inspect_shows_what_a_person_asks(semantic: Run, task) -> None:
    status, out, _ = task('inspect', semantic.task)
    assert status == 0
    for text in ('AdaptFormer', 'sky, box, dot', '112', 'bits per head weight'):
        assert text in out


def test_inspect_as_json(semantic: Run, task) -> None:
    status, out, _ = task('inspect', semantic.task, '--json')
    content = json.loads(out)
    assert status == 0 and content['tuning']['quantizer']['bits'] == 1
    assert content['bytes']['file'] == Path(semantic.task).stat().st_size


def test_verify_with_and_without_a_config(semantic: Run, task) -> None:
    assert task('verify', semantic.task)[0] == 0
    status, out, _ = task('verify', semantic.task, semantic.config)
    assert status == 0 and 'the task loads' in out


def test_verify_tells_damage_and_misfit(semantic: Run, instances: Run, task, tmp_path) -> None:
    cut = tmp_path / 'cut.task.safetensors'
    cut.write_bytes(Path(semantic.task).read_bytes()[:-10])
    assert 'truncated or damaged' in task('verify', cut)[2]
    status, _, message = task('verify', semantic.task, instances.config)
    assert status == 1 and 'belongs to the trunk' in message
    options = ['--cfg-options', 'model.backbone.adapter.width=8']
    assert 'tuning config' in task('verify', semantic.task, semantic.config, *options)[2]


@pytest.mark.parametrize('kind', ['semantic', 'instances'])
def test_export_gives_the_file_that_training_wrote(kind, request, task, tmp_path: Path) -> None:
    run: Run = request.getfixturevalue(kind)
    out = tmp_path / 'x.task.safetensors'
    status, output, _ = task('export', run.checkpoint, '--out', out)
    assert status == 0 and 'the trained weights' in output
    assert out.read_bytes() == Path(run.task).read_bytes()


def test_export_with_a_config_and_half_the_head(semantic: Run, task, tmp_path: Path) -> None:
    out = tmp_path / 'x.task.safetensors'
    options = ['--config', semantic.config, '--head-bits', '16']
    assert task('export', semantic.checkpoint, '--out', out, *options)[0] == 0
    assert read_content(out).metadata['head_bits'] == 16
    assert task('verify', out, semantic.config)[0] == 0
    assert (
        'head_bits=7'
        in task(
            'export',
            semantic.checkpoint,
            '--out',
            out,
            '--config',
            semantic.config,
            '--head-bits',
            '7',
        )[2]
    )


@pytest.fixture
def with_ema(semantic: Run, tmp_path: Path) -> Path:
    """The checkpoint as an EMA hook saves it: the average in state_dict, the rest aside."""
    checkpoint = torch.load(semantic.checkpoint, weights_only=False)
    state = checkpoint['state_dict']
    checkpoint['ema_state_dict'] = {f'module.{k}': v + 1 for k, v in state.items()}
    checkpoint['ema_state_dict']['steps'] = torch.tensor(4)
    path = tmp_path / 'ema.pth'
    torch.save(checkpoint, path)
    return path


def test_export_says_which_of_two_sets_of_weights_it_took(
    semantic: Run, with_ema: Path, task, tmp_path: Path
) -> None:
    averaged, stepped = tmp_path / 'a.task.safetensors', tmp_path / 's.task.safetensors'
    assert 'averaged (EMA)' in task('export', with_ema, '--out', averaged)[1]
    assert 'without averaging' in task('export', with_ema, '--out', stepped, '--no-ema')[1]
    assert averaged.read_bytes() == Path(semantic.task).read_bytes()
    name = 'decode_head.conv_seg.weight'
    one, other = (read_content(path).tensors[name] for path in (averaged, stepped))
    torch.testing.assert_close(one + 1, other)


def test_no_ema_where_there_is_none(semantic: Run, task, tmp_path: Path) -> None:
    out = tmp_path / 'x.task.safetensors'
    status, _, message = task('export', semantic.checkpoint, '--out', out, '--no-ema')
    assert status == 1 and 'no averaged weights' in message and not out.exists()


def test_a_config_inside_a_checkpoint_is_never_run(semantic: Run, task, tmp_path: Path) -> None:
    path, proof = tmp_path / 'x.pth', tmp_path / 'proof'
    checkpoint = torch.load(semantic.checkpoint, weights_only=False)
    checkpoint['meta']['cfg'] = f'open({str(proof)!r}, "w")\nmodel = dict(type="X")\n'
    torch.save(checkpoint, path)
    status, _, message = task('export', path, '--out', tmp_path / 'o.task.safetensors')
    assert status == 1 and 'more than plain values' in message and '--config' in message
    assert not proof.exists()


def test_a_bare_backbone_has_no_task(semantic: Run, task, tmp_path: Path) -> None:
    whole = tmp_path / 'whole.pth'
    torch.save({'state_dict': {}}, whole)
    status, _, told = task(
        'export', whole, '--out', tmp_path / 'o.safetensors', '--config', semantic.config
    )
    assert status == 1 and 'none of the trainable parameters' in told
    assert 'carries no config' in task('export', whole, '--out', tmp_path / 'o.safetensors')[2]
