"""Look into, check and make task files: python tools/task.py inspect|verify|export|... --help."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.config import DictAction
from rich.console import Console

from mmqadapter import inspect_task, load_task
from mmqadapter.cli.common import add_config_options, add_trust, user_errors
from mmqadapter.cli.tables import change_table, petl_table, task_table
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.interop.export import (
    export_task,
    metric_change,
    parse_head_bits,
    require_own_config,
)
from mmqadapter.interop.merge import merge_checkpoint
from mmqadapter.interop.onnx import OPSET, export_onnx
from mmqadapter.interop.peft import export_peft, import_peft
from mmqadapter.interop.petl_vit import export_petl, import_petl, read_petl
from mmqadapter.studies.planner.byte_size import parse_size
from mmqadapter.studies.planner.plan import LIMITED, make_plan
from mmqadapter.studies.planner.table import nearest_line, plan_table


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description='Look into, check and make task files.')
    commands = parser.add_subparsers(dest='command', required=True)
    look = commands.add_parser('inspect', help='show what a task file holds')
    look.add_argument('task', help='a *.task.safetensors')
    look.add_argument('--json', action='store_true', help='everything, for other programs')
    check = commands.add_parser('verify', help='check every bit; with CONFIG, that it fits')
    check.add_argument('task', help='a *.task.safetensors')
    check.add_argument('config', nargs='?', help='load the task into the model of this config')
    add_config_options(check)
    _add_export(commands)
    _add_merge(commands)
    _add_onnx(commands)
    _add_petl(commands)
    _add_peft(commands)
    _add_plan(commands)
    return parser.parse_args(argv)


def _add_export(commands: Any) -> None:
    make = commands.add_parser('export', help='make a task file of a checkpoint or a task file')
    make.add_argument('source', help='a *.pth of a model with a wrapped backbone, or a task file')
    make.add_argument('--out', required=True, help='the *.task.safetensors to write')
    make.add_argument('--config', help='by default the one that the checkpoint carries')
    make.add_argument(
        '--head-bits', nargs='+', default=['32'], metavar='BITS',
        help='bits per weight of neck and head: 32, 16, 8, 4, 2 or 1, or PATTERN=BITS by regexes '
        'over names of layers, the last one that matches counts',
    )  # fmt: skip
    make.add_argument(
        '--check', action='store_true',
        help='test before and after, on the test data of the config; of a checkpoint, with --config'
    )  # fmt: skip
    make.add_argument('--no-ema', action='store_true', help='take the weights without averaging')
    add_trust(make)


def _add_merge(commands: Any) -> None:
    merge = commands.add_parser('merge', help='merge LoRA: a checkpoint without this package')
    merge.add_argument('config', help='the config of the training')
    merge.add_argument('weights', help='a *.task.safetensors or a *.pth of it')
    merge.add_argument('--out', required=True, help='the *.pth to write; its config goes beside it')
    add_config_options(merge)
    add_trust(merge)


def _add_onnx(commands: Any) -> None:
    give = commands.add_parser(
        'export-onnx',
        help='write a tuned segmentor as an ONNX graph',
        description='Write a tuned segmentor as an ONNX graph of one image size, by '
        f'torch.onnx.export(dynamo=True) at opset {OPSET}: normalised pixels (1, 3, H, W) to '
        'logits (1, classes, H, W). Quantised weights become float32 constants. Needs '
        "onnx, onnxscript and onnxruntime: pip install '.[onnx]'.",
    )
    give.add_argument('config', help='the config of the training, of a segmentor')
    give.add_argument('task', help='a *.task.safetensors or a *.pth of it')
    give.add_argument('--out', required=True, help='the *.onnx to write')
    give.add_argument(
        '--image-size', nargs=2, type=int, metavar=('H', 'W'),
        help='in pixels; by default the size that the config pads or cuts images to',
    )  # fmt: skip
    give.add_argument('--name', help='of the task, for the metadata (default: that of its file)')
    add_config_options(give)
    add_trust(give)


def _add_petl(commands: Any) -> None:
    take = commands.add_parser('import-petl', help='read released 1-bit adapters of PETL-ViT')
    take.add_argument('binary', help='a released *.bin')
    take.add_argument('settings', help='the *.yaml beside it')
    take.add_argument('--out', help='the *.task.safetensors to write; without it: check and show')
    take.add_argument(
        '--checkpoint',
        help='local weights of the ViT-B/16, ImageNet-21k (.npz, .safetensors, .pth); by default '
        'those that timm names, from its cache or the network',
    )
    give = commands.add_parser('export-petl', help='write a task as PETL-ViT releases them')
    give.add_argument('task', help='a *.task.safetensors of a classifier')
    give.add_argument('binary', help='the *.bin to write')
    give.add_argument('settings', help='the *.yaml to write')


def _add_peft(commands: Any) -> None:
    take = commands.add_parser('import-peft', help='make a task file of a LoRA folder of PEFT')
    take.add_argument('folder', help='with adapter_config.json and adapter_model.safetensors')
    take.add_argument('--out', required=True, help='the *.task.safetensors to write')
    take.add_argument(
        '--checkpoint',
        help='local weights of the model (.safetensors, .npz, .pth); by default those that timm '
        'names, from its cache or the network',
    )
    give = commands.add_parser('export-peft', help='write the LoRA of a task as PEFT does')
    give.add_argument('task', help='a *.task.safetensors of LoRA in a timm ViT or Swin')
    give.add_argument('folder', help='the folder to write')
    for command in (take, give):
        command.add_argument('--model', required=True, help="timm's name of the ViT or Swin")
        command.add_argument(
            '--model-args', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
            help='arguments of TimmBackbone, such as img_size=512',
        )  # fmt: skip


def _add_plan(commands: Any) -> None:
    plan = commands.add_parser('plan', help='which bits and widths fit into so many bytes')
    plan.add_argument('config', help='a config with adapters; its weights are not needed')
    plan.add_argument('--max-bytes', required=True, metavar='SIZE', help='such as 64K or 1.5M')
    plan.add_argument(
        '--of', choices=LIMITED, default=LIMITED[0],
        help='what has to fit: the whole task file, or the adapters in it (default: %(default)s)',
    )  # fmt: skip
    plan.add_argument(
        '--widths', nargs='+', type=int, default=(), metavar='WIDTH',
        help="widths or ranks to choose from (default: powers of two and the config's own)",
    )  # fmt: skip
    plan.add_argument(
        '--head-bits', nargs='+', type=int, default=(), metavar='BITS',
        help='of neck and head, to choose from (default: 1, 2, 4, 8, 16 and 32)',
    )  # fmt: skip
    plan.add_argument('--all', action='store_true', help='not only the widest at each of the bits')
    plan.add_argument('--json', action='store_true', help='everything, for other programs')
    add_config_options(plan)


@user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    args = parse_args(argv)
    run = {
        'inspect': inspect,
        'verify': verify,
        'export': export,
        'merge': merge,
        'export-onnx': give_onnx,
        'import-petl': take_petl,
        'export-petl': give_petl,
        'import-peft': take_peft,
        'export-peft': give_peft,
        'plan': plan,
    }
    run[args.command](args)


def inspect(args: argparse.Namespace) -> None:
    """Print a table, or JSON."""
    content = inspect_task(args.task)
    if args.json:
        print(json.dumps(content, indent=2))
    else:
        Console().print(task_table(args.task, content))


def verify(args: argparse.Namespace) -> None:
    """Check the file and, with a config, that its model takes it."""
    inspect_task(args.task)
    print(f'{args.task}: every bit is as it was written.')
    if args.config:
        load_task(build_model(load_config(args.config, args.cfg_options)), args.task)
        print(f'{args.config}: same trunk, same tuning config, same head; the task loads.')


def export(args: argparse.Namespace) -> None:
    """Write a task file, say which weights it holds and, where asked, what they cost."""
    given = dict(config=args.config, ema=not args.no_ema, trust=args.trust_checkpoint)
    bits = parse_head_bits(args.head_bits)
    if Path(args.out).resolve() == Path(args.source).resolve():
        raise ValueError(f'--out {args.out!r} is the source itself; name another file.')
    if args.check:
        require_own_config(args.config, args.trust_checkpoint)
    held = export_task(args.source, args.out, head_bits=bits, **given)
    print(f'{args.out}: {Path(args.out).stat().st_size:,} bytes, {held}.')
    if args.check:
        Console().print(change_table(metric_change(args.source, args.out, **given)))


def merge(args: argparse.Namespace) -> None:
    """Write a plain checkpoint and a plain config, and say what they need."""
    plain, needed = merge_checkpoint(
        args.config, args.weights, args.out, args.cfg_options, args.trust_checkpoint
    )
    print(f'{args.out}: {Path(args.out).stat().st_size:,} bytes, no adapters left.')
    print(f'{plain}: its config, {"which needs" if needed else "without"} mmqadapter.')


def give_onnx(args: argparse.Namespace) -> None:
    """Write a graph and say what it takes and gives."""
    made = export_onnx(
        args.config, args.task, args.out,
        args.image_size, args.name, args.cfg_options, args.trust_checkpoint,
    )  # fmt: skip
    height, width = made.image_size
    print(
        f'{args.out}: {Path(args.out).stat().st_size:,} bytes, opset {OPSET}; image '
        f'(1, 3, {height}, {width}) to logits (1, {made.classes}, {height}, {width}).'
    )
    print(f'onnxruntime and PyTorch differ by {made.difference:.1e} of the largest logit.')


def take_petl(args: argparse.Namespace) -> None:
    """Check a released file, show what it holds, and write a task file where one is asked for."""
    if args.checkpoint and not args.out:
        raise ValueError('--checkpoint is of use with --out alone; name the file to write.')
    Console().print(petl_table(args.binary, read_petl(args.binary, args.settings)))
    if args.out:
        trunk = {'checkpoint': args.checkpoint} if args.checkpoint else None
        import_petl(args.binary, args.settings, args.out, trunk)
        print(f'{args.out}: {inspect_task(args.out)["bytes"]["file"]:,} bytes.')


def give_petl(args: argparse.Namespace) -> None:
    """Write a task in the release's form."""
    export_petl(args.task, args.binary, args.settings)
    print(f'{args.binary}: {Path(args.binary).stat().st_size:,} bytes; settings: {args.settings}.')


def take_peft(args: argparse.Namespace) -> None:
    """Write a task file of a PEFT folder and say what was recognised."""
    source = {'checkpoint': args.checkpoint} if args.checkpoint else {'pretrained': True}
    net = {**args.model_args, 'model_name': args.model, **source}
    tuning = import_peft(args.folder, args.out, net)
    size = inspect_task(args.out)['bytes']['file']
    print(f'{args.out}: {size:,} bytes, {tuning["adapter"]}.')


def give_peft(args: argparse.Namespace) -> None:
    """Write a PEFT folder and name what stays behind."""
    net = {**args.model_args, 'model_name': args.model}
    left_out = export_peft(args.task, args.folder, net)
    print(f'{args.folder}: LoRA for {args.model}.')
    if left_out:
        print(f'Left out: {len(left_out)} tensors of neck and head, such as {left_out[0]}.')


def plan(args: argparse.Namespace) -> None:
    """Print what fits and the nearest that does not, or JSON."""
    size = parse_size(args.max_bytes)
    with redirect_stdout(sys.stderr):  # whatever is told on the way
        cfg = load_config(args.config, args.cfg_options)
        found = make_plan(cfg, size, args.of, args.widths, args.head_bits)
    if args.json:
        print(found.as_json())
        return
    console = Console()
    if found.fits:
        title = f'{Path(args.config).name}: {args.of} of at most {found.max_bytes:,} bytes'
        console.print(plan_table(found, title, args.all))
    console.print(nearest_line(found), markup=False, highlight=False)
