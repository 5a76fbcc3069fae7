"""Subcommands of ``task`` that convert tasks to and from formats of others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from mmqadapter import inspect_task
from mmqadapter.cli.common import add_config_options, add_trust
from mmqadapter.cli.tables import petl_table
from mmqadapter.interop.merge import merge_checkpoint
from mmqadapter.interop.onnx import OPSET, export_onnx
from mmqadapter.interop.peft import export_peft, import_peft
from mmqadapter.interop.petl_vit import export_petl, import_petl, import_petl_into, read_petl
from mmqadapter.utils.terminal import SafeConsole, print_line


def add_merge(commands: Any) -> None:
    """Add ``merge``."""
    parser = commands.add_parser(
        'merge', help='merge LoRA into the trunk: a checkpoint that needs no adapters'
    )
    parser.set_defaults(run=merge)
    parser.add_argument('config', help='the config of the training')
    parser.add_argument('weights', help='its *.task.safetensors or *.pth')
    parser.add_argument('--out', required=True, help='the *.pth to write; its config goes with it')
    add_config_options(parser)
    add_trust(parser)


def merge(args: argparse.Namespace) -> None:
    """Write a plain checkpoint and a plain config, and print what they need."""
    plain, needs_package = merge_checkpoint(
        args.config, args.weights, args.out, args.cfg_options, args.trust_checkpoint
    )
    print_line(f'{args.out}: {Path(args.out).stat().st_size:,} bytes, no adapters left.')
    need = 'needs' if needs_package else 'does not need'
    print_line(f'{plain}: its config, which {need} mmqadapter.')


def add_onnx(commands: Any) -> None:
    """Add ``export-onnx``."""
    parser = commands.add_parser(
        'export-onnx',
        help='write a tuned segmentor as an ONNX graph',
        description='Write a tuned segmentor as an ONNX graph of one image size, by '
        f'torch.onnx.export(dynamo=True) at opset {OPSET}: normalized pixels (1, 3, H, W) to '
        'logits (1, classes, H, W). Quantized weights become float32 constants. Needs '
        "onnx, onnxscript and onnxruntime: pip install 'mmqadapter[onnx]'.",
    )
    parser.set_defaults(run=write_onnx)
    parser.add_argument('config', help='the config of the training, of a segmentor')
    parser.add_argument('task', help='its *.task.safetensors or *.pth')
    parser.add_argument('--out', required=True, help='the *.onnx to write')
    parser.add_argument(
        '--image-size', nargs=2, type=int, metavar=('H', 'W'),
        help='in pixels (default: the size that the config pads or crops images to)',
    )  # fmt: skip
    parser.add_argument(
        '--name', help='name of the task in the metadata (default: that of its file)'
    )
    add_config_options(parser)
    add_trust(parser)


def write_onnx(args: argparse.Namespace) -> None:
    """Write a graph and print its inputs and outputs."""
    exported = export_onnx(
        args.config, args.task, args.out,
        args.image_size, args.name, args.cfg_options, args.trust_checkpoint,
    )  # fmt: skip
    height, width = exported.image_size
    print_line(
        f'{args.out}: {Path(args.out).stat().st_size:,} bytes, opset {OPSET}; image '
        f'(1, 3, {height}, {width}) to logits (1, {exported.classes}, {height}, {width}).'
    )
    print(f'onnxruntime and PyTorch differ by {exported.difference:.1e} of the largest logit.')


def add_petl(commands: Any) -> None:
    """Add ``import-petl`` and ``export-petl``."""
    _add_import_petl(commands)
    _add_export_petl(commands)


def _add_import_petl(commands: Any) -> None:
    parser = commands.add_parser('import-petl', help='read released 1-bit adapters of PETL-ViT')
    parser.set_defaults(run=read_petl_release)
    parser.add_argument('binary', help='a released *.bin')
    parser.add_argument('settings', help='the *.yaml released with it')
    parser.add_argument(
        '--out', help='the *.task.safetensors to write; without it, only check and show the content'
    )
    parser.add_argument(
        '--checkpoint',
        help='local weights of the ViT-B/16, ImageNet-21k (.npz, .safetensors, .pth); by default '
        "timm's, from its cache or the network",
    )
    parser.add_argument(
        '--config', help='config of mmpretrain that is to use the task; it names the weights itself'
    )
    add_config_options(parser)


def read_petl_release(args: argparse.Namespace) -> None:
    """Check a released file, show its content and, with ``--out``, write a task file."""
    for name in ('checkpoint', 'config'):
        if getattr(args, name) and not args.out:
            raise ValueError(f'--{name} needs --out: name the task file to write.')
    if args.checkpoint and args.config:
        raise ValueError('--checkpoint is invalid with --config: set it in the backbone there.')
    SafeConsole().print(petl_table(args.binary, read_petl(args.binary, args.settings)))
    if args.out:
        trunk = {'checkpoint': args.checkpoint} if args.checkpoint else None
        if args.config:
            files = args.binary, args.settings, args.config, args.out
            import_petl_into(*files, args.cfg_options)
        else:
            import_petl(args.binary, args.settings, args.out, trunk)
        print_line(f'{args.out}: {inspect_task(args.out)["bytes"]["file"]:,} bytes.')


def _add_export_petl(commands: Any) -> None:
    parser = commands.add_parser('export-petl', help='write a task in the format of PETL-ViT')
    parser.set_defaults(run=write_petl_release)
    parser.add_argument('task', help='a *.task.safetensors of a classifier')
    parser.add_argument('binary', help='the *.bin to write')
    parser.add_argument('settings', help='the *.yaml to write')


def write_petl_release(args: argparse.Namespace) -> None:
    """Write a task in the format of the release."""
    export_petl(args.task, args.binary, args.settings)
    size = Path(args.binary).stat().st_size
    print_line(f'{args.binary}: {size:,} bytes; settings: {args.settings}.')


def add_peft(commands: Any) -> None:
    """Add ``import-peft`` and ``export-peft``."""
    _add_import_peft(commands)
    _add_export_peft(commands)


def _add_import_peft(commands: Any) -> None:
    parser = commands.add_parser('import-peft', help='write the task file of a LoRA folder of PEFT')
    parser.set_defaults(run=read_peft_folder)
    parser.add_argument('folder', help='with adapter_config.json and adapter_model.safetensors')
    parser.add_argument('--out', required=True, help='the *.task.safetensors to write')
    parser.add_argument(
        '--checkpoint',
        help="local weights of the model (.safetensors, .npz, .pth); by default timm's, from its "
        'cache or the network',
    )
    _add_timm_model(parser)


def read_peft_folder(args: argparse.Namespace) -> None:
    """Write the task file of a PEFT folder and print the adapter that was recognized."""
    source = {'checkpoint': args.checkpoint} if args.checkpoint else {'pretrained': True}
    net = {**args.model_args, 'model_name': args.model, **source}
    tuning = import_peft(args.folder, args.out, net)
    size = inspect_task(args.out)['bytes']['file']
    print_line(f'{args.out}: {size:,} bytes, {tuning["adapter"]}.')


def _add_export_peft(commands: Any) -> None:
    parser = commands.add_parser(
        'export-peft', help='write the LoRA of a task in the format of PEFT'
    )
    parser.set_defaults(run=write_peft_folder)
    parser.add_argument('task', help='a *.task.safetensors of LoRA in a timm ViT or Swin')
    parser.add_argument('folder', help='the folder to write')
    _add_timm_model(parser)


def write_peft_folder(args: argparse.Namespace) -> None:
    """Write a PEFT folder and print which tensors it leaves out."""
    net = {**args.model_args, 'model_name': args.model}
    left_out = export_peft(args.task, args.folder, net)
    print_line(f'{args.folder}: LoRA for {args.model}.')
    if left_out:
        print_line(f'Left out: {len(left_out)} tensors of neck and head, such as {left_out[0]}.')


def _add_timm_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--model', required=True, help="timm's name of the ViT or Swin")
    parser.add_argument(
        '--model-args', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
        help='arguments of TimmBackbone, such as img_size=512',
    )  # fmt: skip
