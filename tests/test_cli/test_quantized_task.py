"""A UperNet that trains at few bits: task file, checkpoint, resume, export, inspection."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_runs import Run, forget, tool

from mmqadapter import inspect_task
from mmqadapter.checkpoints.load import load_weights
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference import load_model
from mmqadapter.inference.bank import TaskBank
from mmqadapter.quant import materialized_state_dict
from mmqadapter.taskfile.head_bits import trained_bits


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


def test_task_file_and_checkpoint_score_as_in_training(
    few: Run, upernet: Run, evaluate_config
) -> None:
    scores = [evaluate_config(few.config, weights) for weights in (few.task, few.checkpoint)]
    # What they were trained with is in the files: the float config does as well.
    scores += [evaluate_config(upernet.config, weights) for weights in (few.task, few.checkpoint)]
    assert all(score == scores[0] for score in scores)
    assert scores[0]['mIoU'] == few.last_score('mIoU')


def test_outputs_are_those_of_training_bit_for_bit(few: Run, upernet: Run, tmp_path: Path) -> None:
    expected = logits(few.config, few.checkpoint)
    assert torch.equal(logits(few.config, few.task), expected)
    assert torch.equal(logits(upernet.config, few.task), expected)
    state = torch.load(few.checkpoint, weights_only=False)['state_dict']
    latent = tmp_path / 'latent.pth'
    torch.save({'state_dict': state}, latent)
    assert not torch.equal(logits(few.config, latent), expected)


def test_a_float_checkpoint_after_a_quantized_task(few: Run, upernet: Run) -> None:
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
    of_checkpoint = materialized_state_dict(load_model(few.config, few.checkpoint, 'cpu'))
    of_task = load_model(few.config, few.task, 'cpu').state_dict()
    head = [name for name in of_task if name.startswith(('neck', 'decode_head'))]
    assert head and all(torch.equal(of_task[name], of_checkpoint[name]) for name in head)
