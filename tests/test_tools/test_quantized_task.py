"""A UperNet that trains at few bits: task file, checkpoint, resume, export, inspection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import Run, forget, tool

from mmqadapter import inspect_task
from mmqadapter.inference import load_model
from mmqadapter.quant import settled_state
from mmqadapter.running import build_model, load_config
from mmqadapter.taskbank import TaskBank
from mmqadapter.taskfile.head_bits import trained_bits
from mmqadapter.weights import load_weights

UPERNET = """
_base_ = {base!r}
model = dict(
    neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
    decode_head=dict(
        _delete_=True, type='UPerHead', in_channels=[8, 8], in_index=[0, 1], pool_scales=(1, 2),
        channels=8, num_classes=3, dropout_ratio=0.1, align_corners=False,
        norm_cfg=dict(type='SyncBN'), loss_decode=dict(type='CrossEntropyLoss')))
optim_wrapper = dict(optimizer=dict(lr=0.01))
"""
FEW = """
_base_ = './upernet.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmqadapter.QuantizeTaskHook',
         bits={'decode_head.*': 4, 'neck.*': 2, 'decode_head.conv_seg': 8})]
"""


@pytest.fixture(scope='session')
def upernet(semantic: Run) -> Run:
    """A float UperNet with an FPN as neck, and its four iterations."""
    return _trained(semantic, 'upernet', UPERNET.format(base=semantic.config))


@pytest.fixture(scope='session')
def few(semantic: Run, upernet: Run) -> Run:
    """The same at 8, 4 and 2 bits."""
    return _trained(semantic, 'few', FEW)


def _trained(base: Run, name: str, text: str) -> Run:
    config = Path(base.config).with_name(f'{name}.py')
    config.write_text(text)
    run = Run(str(config), base.images, config.parent / name)
    forget()
    assert tool('train')([run.config, '--work-dir', str(run.work_dir)]) == 0
    forget()
    return run


@pytest.fixture
def evaluate(tmp_path: Path):
    """``evaluate(config, weights)``: the metrics that tools/test.py logs."""

    def call(config: str, weights: str | Path) -> dict[str, float]:
        forget()
        out = tmp_path / f'run{len(list(tmp_path.iterdir()))}'
        assert tool('test')([config, str(weights), '--work-dir', str(out)]) == 0
        (log,) = out.glob('*/*.json')
        return {k: v for k, v in json.loads(log.read_text()).items() if not k.endswith('time')}

    return call


@pytest.fixture
def task(capsys):
    """``task(...)``: exit status, output and last error line of tools/task.py."""

    def call(*args: str | Path) -> tuple[int, str, str]:
        forget()
        capsys.readouterr()
        status = tool('task')([str(arg) for arg in args])
        printed = capsys.readouterr()
        return status, printed.out, (printed.err.strip().splitlines() or [''])[-1]

    return call


@torch.no_grad()
def logits(config: str, weights: str | Path) -> torch.Tensor:
    forget()
    model = load_model(config, weights, 'cpu')
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    return model(images, mode='tensor')


def test_the_file_has_the_bits_of_the_config(few: Run) -> None:
    tensors = inspect_task(few.task)['tensors']
    assert tensors['decode_head.conv_seg.weight'][0] == '8 bits'
    assert tensors['decode_head.bottleneck.conv.weight'][0] == '4 bits'
    assert tensors['neck.fpn_convs.1.conv.weight'][0] == '2 bits'
    assert tensors['decode_head.bottleneck.bn.weight'][0] == 'torch.float16'
    assert tensors['decode_head.bottleneck.bn.running_mean'][0] == 'torch.float32'


def test_task_file_and_checkpoint_score_as_in_training(few: Run, upernet: Run, evaluate) -> None:
    scores = [evaluate(few.config, weights) for weights in (few.task, few.checkpoint)]
    # What they were trained with is in the files: the float config does as well.
    scores += [evaluate(upernet.config, weights) for weights in (few.task, few.checkpoint)]
    assert all(score == scores[0] for score in scores)
    assert scores[0]['mIoU'] == few.last_score('mIoU')


def test_outputs_are_those_of_training_bit_for_bit(few: Run, upernet: Run) -> None:
    expected = logits(few.config, few.checkpoint)
    assert torch.equal(logits(few.config, few.task), expected)
    assert torch.equal(logits(upernet.config, few.task), expected)
    state = torch.load(few.checkpoint, weights_only=False)['state_dict']
    latent = Path(few.work_dir, 'latent.pth')
    torch.save({'state_dict': state}, latent)
    assert not torch.equal(logits(few.config, latent), expected)


def test_a_float_checkpoint_after_a_quantised_task(few: Run, upernet: Run) -> None:
    model = load_model(few.config, few.checkpoint, 'cpu')
    assert trained_bits(model)['decode_head.conv_seg'] == 8

    load_weights(model, upernet.checkpoint)
    fresh = build_model(load_config(upernet.config))
    load_weights(fresh, upernet.checkpoint)
    assert not trained_bits(model)
    state = fresh.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())


def test_resume_equals_uninterrupted(few: Run, tmp_path: Path) -> None:
    middle = str(few.work_dir / 'iter_2.pth')
    assert tool('train')([few.config, '--work-dir', str(tmp_path), '--resume', middle]) == 0
    assert (tmp_path / 'last.task.safetensors').read_bytes() == Path(few.task).read_bytes()
    ends = [
        torch.load(path, weights_only=False) for path in (tmp_path / 'iter_4.pth', few.checkpoint)
    ]
    states = [end['state_dict'] for end in ends]
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())
    moments = [end['optimizer']['state'] for end in ends]
    assert all(
        torch.equal(moments[0][key]['exp_avg'], value['exp_avg'])
        for key, value in moments[1].items()
    )


def test_training_starts_from_its_task_file(few: Run, upernet: Run, tmp_path: Path) -> None:
    for number, run in enumerate((few, upernet)):
        out = tmp_path / str(number)
        options = ['--work-dir', str(out), '--init-task', few.task]
        options += ['--cfg-options', 'train_cfg.max_iters=1', 'optim_wrapper.optimizer.lr=0.0']
        forget()
        assert tool('train')([run.config, *options]) == 0
    sizes = [(tmp_path / name / 'last.task.safetensors').stat().st_size for name in '01']
    assert sizes[0] == Path(few.task).stat().st_size < sizes[1]


def test_export_gives_the_file_that_training_wrote(few: Run, task, tmp_path: Path) -> None:
    out = tmp_path / 'x.task.safetensors'
    assert task('export', few.checkpoint, '--out', out)[0] == 0
    assert out.read_bytes() == Path(few.task).read_bytes()
    assert task('verify', out, few.config)[0] == 0


def test_export_after_training_with_a_check(upernet: Run, task, evaluate, tmp_path: Path) -> None:
    before = evaluate(upernet.config, upernet.task)
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
        status, told, _ = task('export', source, '--out', out, *words)
        assert status == 0 and 'Metrics' in told
        row = next(line for line in told.rpartition('Metrics')[2].splitlines() if 'mIoU' in line)
        numbers = [float(word) for word in row.split() if word.lstrip('+-')[:1].isdigit()]
        after = evaluate(upernet.config, out)
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
        (['--head-bits', '7'], 'head_bits=7 is not supported'),
        (['--head-bits', 'four'], "head_bits='four' is neither a number nor PATTERN=NUMBER"),
        (['--head-bits', 'necks.*=4'], r"'necks.*' matches no linear or convolutional layer"),
        (['--head-bits', 'neck.*=3'], 'use 1, 2, 4, 8 or 16'),
        (['--no-ema'], 'holds one set of weights; leave --no-ema out'),
    ],
)
def test_export_refuses(upernet: Run, task, tmp_path: Path, words: list[str], text: str) -> None:
    out = tmp_path / 'x.task.safetensors'
    status, _, told = task('export', upernet.task, '--out', out, '--config', upernet.config, *words)
    assert status == 1 and text in told and not out.exists()


def test_a_task_file_needs_a_config(upernet: Run, task, tmp_path: Path) -> None:
    _, _, told = task('export', upernet.task, '--out', tmp_path / 'x')
    assert 'is a task file and carries no config; give --config' in told


def test_inspect_tells_bytes_and_entropy(few: Run, task) -> None:
    status, told, _ = task('inspect', few.task)
    words = ' '.join(told.replace('│', ' ').split())
    assert status == 0 and 'decode_head: 4-bit codes' in words and 'bits per code' in words
    assert 'a lossless second stage' in words and '% of the file' in words
    groups = json.loads(task('inspect', few.task, '--json')[1])['groups']
    codes = next(g for g in groups if (g['part'], g['stored']) == ('neck', '2-bit codes'))
    assert codes['bytes'] == (8 * 8 + 16 * 8 + 2 * 8 * 8 * 9) // 4 and 1 < codes['entropy'] <= 2


def test_a_bank_switches_to_it(few: Run, upernet: Run) -> None:
    bank = TaskBank(load_model(upernet.config, upernet.task, 'cpu'))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    for run in (few, upernet, few):
        if Path(run.task).parts[-2] not in bank.names:
            bank.register(Path(run.task).parts[-2], run.task)
        bank.use(Path(run.task).parts[-2])
        with torch.no_grad():
            assert torch.equal(bank.model(images, mode='tensor'), logits(run.config, run.task))


def test_settled_values_are_those_of_the_task(few: Run) -> None:
    of_checkpoint = settled_state(load_model(few.config, few.checkpoint, 'cpu'))
    of_task = load_model(few.config, few.task, 'cpu').state_dict()
    head = [name for name in of_task if name.startswith(('neck', 'decode_head'))]
    assert head and all(torch.equal(of_task[name], of_checkpoint[name]) for name in head)
