"""Few bits on the command line: export, its check, inspection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_runs import Run

from mmqadapter import inspect_task
from mmqadapter.cli.head_bits import parse_head_bits


def test_export_gives_the_file_that_training_wrote(few: Run, run_task, tmp_path: Path) -> None:
    out = tmp_path / 'x.task.safetensors'
    assert run_task('export', few.checkpoint, '--out', out)[0] == 0
    assert out.read_bytes() == Path(few.task).read_bytes()
    assert run_task('verify', out, few.config)[0] == 0


def test_export_after_training_with_a_check(
    upernet: Run, run_task, evaluate_config, tmp_path: Path
) -> None:
    before = evaluate_config(upernet.config, upernet.task)
    for number, source in enumerate((upernet.checkpoint, upernet.task)):
        out = tmp_path / f'{number}.task.safetensors'
        words = [
            '--config',
            upernet.config,
            '--head-bits',
            '4',
            'decode_head.conv_seg=8',
            '--check',
        ]
        status, told, _ = run_task('export', source, '--out', out, *words)
        assert status == 0 and 'Metrics' in told
        row = next(line for line in told.rpartition('Metrics')[2].splitlines() if 'mIoU' in line)
        numbers = [float(word) for word in row.split() if word.lstrip('+-')[:1].isdigit()]
        after = evaluate_config(upernet.config, out)
        assert numbers == pytest.approx(
            [before['mIoU'], after['mIoU'], after['mIoU'] - before['mIoU']], abs=1e-3
        )
        tensors = inspect_task(out)['tensors']
        assert tensors['decode_head.conv_seg.weight'][0] == '8 bits'
        assert tensors['neck.fpn_convs.0.conv.weight'][0] == '4 bits'
    assert (tmp_path / '0.task.safetensors').read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['--head-bits', '7'], 'head_bits=7 is invalid: expected 32 or 16'),
        (['--head-bits', 'four'], "head_bits='four' is invalid: expected NUMBER or PATTERN=NUMBER"),
        (['--head-bits', 'necks.*=4'], r"'necks.*' matches no linear or convolutional layer"),
        (['--head-bits', 'neck.*=3'], "{'neck.*': 3} is invalid: expected 1, 2, 4, 8 or 16"),
        (['--no-ema'], 'which has a single set of weights; leave out --no-ema'),
    ],
)
def test_export_refuses(
    upernet: Run, run_task, tmp_path: Path, words: list[str], text: str
) -> None:
    out = tmp_path / 'x.task.safetensors'
    status, _, told = run_task(
        'export', upernet.task, '--out', out, '--config', upernet.config, *words
    )
    assert status == 1 and text in told and not out.exists()


def test_the_source_is_not_written_over(few: Run, run_task, tmp_path: Path) -> None:
    shutil.copy(few.task, tmp_path / 'a.task.safetensors')
    before = (tmp_path / 'a.task.safetensors').read_bytes()
    status, _, told = run_task(
        'export', tmp_path / 'a.task.safetensors', '--config', few.config, '--head-bits', 1,
        '--out', tmp_path / 'x/../a.task.safetensors',
    )  # fmt: skip
    assert status == 1 and 'is the source itself' in told
    assert (tmp_path / 'a.task.safetensors').read_bytes() == before


def test_a_task_file_needs_a_config(upernet: Run, run_task, tmp_path: Path) -> None:
    _, _, told = run_task('export', upernet.task, '--out', tmp_path / 'x.safetensors')
    assert 'is a task file, which stores no config; give the config' in told


def test_a_check_runs_no_config_of_a_checkpoint(few: Run, run_task, tmp_path: Path) -> None:
    """It would build its hooks, loggers and pipelines, and those of a stranger may do anything."""
    out = tmp_path / 'x.task.safetensors'
    status, _, told = run_task('export', few.checkpoint, '--out', out, '--check')
    assert status == 1 and '(--config)' in told and '(--trust-checkpoint)' in told
    assert not out.exists()


def test_a_task_file_has_its_suffix(few: Run, run_task, tmp_path: Path) -> None:
    status, _, told = run_task('export', few.checkpoint, '--out', tmp_path / 'street')
    assert status == 1 and 'let it end in .task.safetensors' in told
    assert not (tmp_path / 'street').exists()


@pytest.mark.parametrize(
    ('words', 'bits'),
    [
        ('8 decode_head.*=4 16', {'decode_head.*': 4, '.*': 16}),
        ('a.*=4 a.b=8 a.*=2', {'a.b': 8, 'a.*': 2}),
        ('8 4', 4),
    ],
)
def test_what_comes_later_counts(words: str, bits: object) -> None:
    found = parse_head_bits(words.split())
    assert found == bits
    if isinstance(found, dict) and isinstance(bits, dict):
        assert [*found] == [*bits]  # in their order, of which the last match counts


def test_inspect_tells_bytes_and_entropy(few: Run, run_task) -> None:
    status, told, _ = run_task('inspect', few.task)
    words = ' '.join(told.replace('│', ' ').split())
    assert status == 0 and 'decode_head: 4-bit codes' in words and 'bits per code' in words
    assert 'lossless compression (zstd)' in words and '% of the file' in words
    groups = json.loads(run_task('inspect', few.task, '--json')[1])['groups']
    codes = next(g for g in groups if (g['part'], g['stored']) == ('neck', '2-bit codes'))
    assert codes['bytes'] == (8 * 8 + 16 * 8 + 2 * 8 * 8 * 9) // 4 and 1 < codes['entropy'] <= 2
