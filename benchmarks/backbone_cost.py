"""Memory and time of a training step of a backbone alone, for different tuning methods.

python benchmarks/backbone_cost.py --out benchmarks/results/backbone_cost
python benchmarks/backbone_cost.py --families --out benchmarks/results/backbone_cost_families

Images of 512 x 512, float32, random weights (they influence neither memory nor time), and a
gradient of ones for every map instead of a loss. Methods are measured in rounds within one process,
so that a change of the machine's speed affects all of them alike. Bytes are activation memory
(saved for backward by autograd); seconds are medians. With ``--families``: one net of each family,
with the adapters of the shipped configs, and the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from family_nets import FAMILY_NETS, IN_PATH_ONLY, LOW_RANK, family_config
from mmengine.registry import MODELS
from report_files import header, print_table, write_report
from rich.progress import track
from torch import Tensor, nn

import mmqadapter  # noqa: F401
from mmqadapter.utils.accounting import saved_for_backward

SWIN = dict(type='mmdet.SwinTransformer', window_size=7, drop_path_rate=0.0, init_cfg=None)
NETS = {
    'swin-t': dict(SWIN, embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    'swin-b': dict(SWIN, embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    'swin-l': dict(SWIN, embed_dims=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}
BATCH = {'swin-t': 2, 'swin-b': 2, 'swin-l': 1}
ROOT = Path(__file__).resolve().parents[1]
FAMILY_RESULTS, PAGE = (
    ROOT / 'benchmarks/results/backbone_cost_families',
    ROOT / 'docs/performance.md',
)
BEGIN, END = '<!-- made by benchmarks/backbone_cost.py --families -->', '<!-- end -->'
DUAL = dict(type='DualLowRankAdapter', branches=2, rank=8)
ONE_BIT = dict(type='GaussianQuantizer', bits=1)
JOINED = dict(adapter=dict(type='ConvAdapter', width=32), taps='stream', cell='JoinedCell')

ADAPTFORMER = dict(type='AdaptFormer', width=64)
LORA = dict(type='LoRA', rank=8, targets='qkv')

FAST = dict(trunk=dict(attention='fused', mlp='chunked', prepacked=True))
FASTER = dict(trunk=dict(FAST['trunk'], dtype='bfloat16'))


@MODELS.register_module()
class PeftBackbone(nn.Module):
    """Net with LoRA of Hugging Face PEFT on the fused projections of its attention.

    Args:
        backbone: Config of the net.
        rank: Rank of the products.
    """

    def __init__(self, backbone: dict, rank: int) -> None:
        super().__init__()
        import peft  # optional: other scripts import the methods of this one without it

        config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=['qkv'])
        self.trunk = peft.inject_adapter_in_model(config, MODELS.build(backbone))

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """Compute feature maps (B, C_i, H_i, W_i) of images (B, 3, H, W)."""
        return self.trunk(x)


def _wrapped(kind: str, **options: object) -> Callable[[dict], dict]:
    return lambda net: dict(type=f'mmqadapter.{kind}', backbone=net, **options)


def _highway(**options: object) -> Callable[[dict], dict]:
    return _wrapped('HighwayBackbone', **options)


METHODS: dict[str, Callable[[dict], dict]] = {
    'full': lambda net: net,
    'full, recomputed': lambda net: dict(net, with_cp=True),
    'frozen': _wrapped('FrozenBackbone'),
    'partial-1': _wrapped('FrozenBackbone', train='partial-1'),
    'lora-8 of PEFT': lambda net: dict(type='PeftBackbone', backbone=net, rank=8),
    'lora-8': _wrapped('AdaptedBackbone', adapter=LORA),
    'lora-8, fast trunk': _wrapped('AdaptedBackbone', adapter=LORA, **FAST),
    'adaptformer-64': _wrapped('AdaptedBackbone', adapter=ADAPTFORMER),
    'adaptformer-64, fast trunk': _wrapped('AdaptedBackbone', adapter=ADAPTFORMER, **FAST),
    'highway, float': _highway(adapter=DUAL),
    'highway, half': _highway(adapter=DUAL, saved_taps='half'),
    'highway, int8': _highway(adapter=DUAL, saved_taps='int8'),
    'highway, 1 bit': _highway(adapter=DUAL, quantizer=ONE_BIT),
    'joined cell, float': _highway(**JOINED),
    'joined cell, half': _highway(**JOINED, saved_taps='half'),
    'joined cell, 1 bit': _highway(**JOINED, quantizer=ONE_BIT),
    'joined cell, stem': _highway(**JOINED, stem='ConvStem'),
    'frozen, fast trunk': _wrapped('FrozenBackbone', **FAST),
    'frozen, fast trunk, bfloat16': _wrapped('FrozenBackbone', **FASTER),
    'highway, half, fast trunk': _highway(adapter=DUAL, saved_taps='half', **FAST),
    'highway, half, fast trunk, bfloat16': _highway(adapter=DUAL, saved_taps='half', **FASTER),
    'joined cell, half, fast trunk': _highway(**JOINED, saved_taps='half', **FAST),
    'joined cell, half, fast trunk, bfloat16': _highway(**JOINED, saved_taps='half', **FASTER),
}

# The methods of the shipped configs, beside the two that they are compared with.
IN_PATH, BESIDE = 'AdaptFormer at 1 bit', 'highway at 1 bit'
SHIPPED: dict[str, Callable[[dict], dict]] = {
    'full': METHODS['full'],
    'frozen': METHODS['frozen'],
    IN_PATH: _wrapped(
        'AdaptedBackbone', adapter=dict(type='AdaptFormer', width=32), quantizer=ONE_BIT
    ),
    BESIDE: _highway(**JOINED, saved_taps='half', quantizer=ONE_BIT),
}


# Frozen tensors of the trunks built so far, by name, shape and dtype, which methods share.
Frozen = dict[tuple, Tensor]


class Measured:
    """Tuning method on a net, whose training steps are measured.

    Args:
        config: Config of the backbone.
        images: (B, 3, H, W).
        frozen: Frozen tensors to share, so that many methods fit into memory side by side.
    """

    def __init__(self, config: dict, images: Tensor, frozen: Frozen | None = None) -> None:
        torch.manual_seed(0)
        self.net: nn.Module = MODELS.build(config)
        self.net.train()
        share(getattr(self.net, 'trunk', None), {} if frozen is None else frozen)
        self.images = images
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.trained = sum(p.numel() for p in trained)
        self.optimizer = torch.optim.AdamW(trained, lr=0.0) if trained else None
        self.forward_seconds: list[float] = []
        self.step_seconds: list[float] = []

    def step(self) -> None:
        """Run forward, backward and optimizer; only forward if nothing is trained."""
        start = time.perf_counter()
        with torch.set_grad_enabled(self.optimizer is not None):
            maps = self.net(self.images)
        self.forward_seconds.append(time.perf_counter() - start)
        if self.optimizer is not None:
            trained = [map_ for map_ in maps if map_.requires_grad]
            torch.autograd.backward(trained, [torch.ones_like(map_) for map_ in trained])
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.step_seconds.append(time.perf_counter() - start)

    def saved_bytes(self) -> int:
        """Return the activation memory in bytes."""
        if self.optimizer is None:
            return 0
        with saved_for_backward(self.net) as saved:
            maps = self.net(self.images)
        del maps
        return saved.total


def share(trunk: nn.Module | None, frozen: Frozen) -> None:
    """Replace the frozen weights of a trunk by equal ones that exist already."""
    for name, parameter in () if trunk is None else trunk.named_parameters():
        if not parameter.requires_grad:
            key = (name, parameter.shape, parameter.dtype)
            parameter.data = frozen.setdefault(key, parameter.data)


def measure(
    net: str, configs: dict[str, dict], batch: int, size: int, steps: int, warm_up: int
) -> list[dict]:
    """Return one row per method.

    Args:
        net: Name of the net.
        configs: Config of the backbone in each method.
        batch: Number of images.
        size: Height and width of the images.
        steps: Number of measured steps.
        warm_up: Number of steps before.
    """
    images = torch.randn(batch, 3, size, size)
    frozen: Frozen = {}
    measured = {name: Measured(config, images, frozen) for name, config in configs.items()}
    saved = {name: method.saved_bytes() for name, method in measured.items()}
    for _ in track(range(warm_up + steps), net):
        for method in measured.values():
            method.step()
    rows = []
    for name, method in measured.items():
        rows.append(
            {
                'net': net,
                'batch': batch,
                'method': name,
                'trainable_backbone_params': method.trained,
                'saved_for_backward_bytes': saved[name],
                'forward_seconds': statistics.median(method.forward_seconds[warm_up:]),
                'step_seconds': statistics.median(method.step_seconds[warm_up:]),
            }
        )
    return compare(rows)


def compare(rows: list[dict]) -> list[dict]:
    """Add ratios to full fine-tuning and to the trunk's forward, if these were measured."""
    by_name = {row['method']: row for row in rows}
    for row in rows:
        for key in ('saved_for_backward_bytes', 'step_seconds'):
            if 'full' in by_name:
                row[f'{key}_over_full'] = row[key] / by_name['full'][key]
        if 'frozen' in by_name:
            row['step_over_trunk_forward'] = row['step_seconds'] / by_name['frozen']['step_seconds']
    return rows


def markdown(rows: list[dict]) -> str:
    """Return the table in Markdown."""
    lines = [
        '| net | method | trains | activation memory, MB | over full | s per step | over full | '
        'over trunk forward |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        shares = [row.get(key) for key in (
            'saved_for_backward_bytes_over_full',
            'step_seconds_over_full',
            'step_over_trunk_forward',
        )]  # fmt: skip
        memory, full, trunk = ('-' if share is None else f'{share:.3f}' for share in shares)
        lines.append(
            f'| {row["net"]} | {row["method"]} | {row["trainable_backbone_params"]:,} | '
            f'{row["saved_for_backward_bytes"] / 1e6:.0f} | {memory} | '
            f'{row["step_seconds"]:.3f} | {full} | {trunk} |'
        )
    return '\n'.join(lines) + '\n'


def family_table(rows: list[dict]) -> str:
    """Return the table of the families in Markdown."""
    lines = [
        '| family | net | trunk, million parameters | AdaptFormer: trains | memory | time | '
        'highway: trains | memory | time |',
        '|---|---|---|---|---|---|---|---|---|',
    ]
    for family, (net, _) in FAMILY_NETS.items():
        by_method = {row['method']: row for row in rows if row['net'] == family}
        if by_method:
            cells = [cell for name in (IN_PATH, BESIDE) for cell in _cells(by_method.get(name))]
            trunk = by_method['full']['trainable_backbone_params'] / 1e6
            lines.append(f'| {family} | {net} | {trunk:.1f} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def _cells(row: dict | None) -> tuple[str, ...]:
    if row is None:
        return '-', '-', '-'
    shares = row['saved_for_backward_bytes_over_full'], row['step_seconds_over_full']
    return (f'{row["trainable_backbone_params"]:,}', *(f'{share:.2f}' for share in shares))


def shipped_configs(family: str, size: int) -> dict[str, dict]:
    """Return the config of a family's net in each method of ``SHIPPED``."""
    configs = {name: wrap(family_config(family, size)) for name, wrap in SHIPPED.items()}
    if family in LOW_RANK:
        configs[BESIDE]['downsample'] = 'low-rank'
    if family in IN_PATH_ONLY:
        del configs[BESIDE]
    return configs


def write_page(rows: list[dict]) -> None:
    """Write the table of the families into its page."""
    before, _, rest = PAGE.read_text(encoding='utf-8').partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f'{before}{BEGIN}\n\n{family_table(rows)}\n{END}{after}', encoding='utf-8')


def main() -> None:
    """Measure all methods, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nets', nargs='+', choices=NETS, default=list(NETS))
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--families', action='store_true', help='one net of each family')
    parser.add_argument('--image-size', type=int, default=512, help='pixels')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--warm-up', type=int, default=5)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    head = header(
        __file__,
        precision='float32',
        image_size=args.image_size,
        steps=args.steps,
        warm_up=args.warm_up,
    )
    rows: list[dict] = []
    for net in FAMILY_NETS if args.families else args.nets:
        if args.families:
            configs, batch = shipped_configs(net, args.image_size), 1
        else:
            configs = {name: METHODS[name](dict(NETS[net])) for name in args.methods}
            batch = BATCH[net]
        rows += measure(net, configs, batch, args.image_size, args.steps, args.warm_up)
        write_report(args.out, head, rows, markdown(rows))
    if args.families and args.out.resolve() == FAMILY_RESULTS:
        write_page(rows)
    print_table(family_table(rows) if args.families else markdown(rows))


if __name__ == '__main__':
    main()
