"""A highway on nets that return more than maps: mmseg's ViT for DPT and SAN heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from highways import CONV, IN_PATH, trained, wrap
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.structures import PixelData
from nets import ONE_BIT, bare, images
from torch import Tensor, nn

Factory = Callable[..., dict]
JOINED = dict(cell='JoinedCell', taps='stream', saved_taps='half')
OPTIONS = pytest.mark.parametrize(
    'options',
    [
        dict(output_cls_token=True),
        dict(out_origin=True),
        dict(out_origin=True, output_cls_token=True),
        dict(out_origin=True, with_cls_token=False),
    ],
    ids=lambda options: '-'.join(options),
)


def flat(outputs: Any) -> Iterator[Tensor]:
    for output in outputs:
        yield from output if isinstance(output, list) else [output]


@OPTIONS
@IN_PATH
@torch.no_grad()
def test_starts_as_the_bare_net(tiny_mmseg_vit: Factory, options: dict, inpath_blocks: int) -> None:
    cfg = tiny_mmseg_vit(**options)
    ours = wrap(cfg, CONV, inpath_blocks=inpath_blocks).eval()(images())
    stock = bare(cfg)(images())
    assert [type(output) for output in ours] == [type(output) for output in stock]
    assert all(torch.equal(a, b) for a, b in zip(flat(ours), flat(stock), strict=True))


@OPTIONS
@torch.no_grad()
def test_maps_are_the_highways_and_the_rest_the_trunks(
    tiny_mmseg_vit: Factory, options: dict
) -> None:
    cfg = tiny_mmseg_vit(**options)
    ours, stock = trained(cfg, CONV).eval()(images()), bare(cfg)(images())
    before = len(stock) - len(cfg['out_indices'])
    for number, (a, b) in enumerate(zip(ours, stock, strict=True)):
        (ours_map, *ours_tokens), (stock_map, *stock_tokens) = flat([a]), flat([b])
        assert ours_map.shape == stock_map.shape
        assert torch.equal(ours_map, stock_map) == (number < before)
        assert all(torch.equal(x, y) for x, y in zip(ours_tokens, stock_tokens, strict=True))


def test_tokens_of_blocks_in_path_have_gradients(tiny_mmseg_vit: Factory) -> None:
    wrapped = trained(tiny_mmseg_vit(output_cls_token=True), CONV, inpath_blocks=1)
    (_, first), (_, last) = wrapped(images())
    assert not first.requires_grad and last.requires_grad


def test_dpt_trains_and_predicts(tiny_mmseg_vit: Factory) -> None:
    cfg = dpt(tiny_mmseg_vit(num_layers=4, out_indices=(0, 1, 2, 3), output_cls_token=True))
    losses = train_and_predict(cfg, lambda model: model.backbone)
    assert losses[1] < losses[0]


def dpt(net: dict) -> dict:
    """mmseg's config of DPT, cut small."""
    cfg = shipped('dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py')
    cfg.pretrained, cfg.backbone = None, joined(net)
    cfg.data_preprocessor.size = (64, 64)
    cfg.decode_head.update(
        in_channels=[16] * 4, channels=8, embed_dims=16, num_classes=3,
        post_process_channels=[4, 8, 8, 16], norm_cfg=dict(type='GN', num_groups=2),
    )  # fmt: skip
    return cfg


def test_san_trains_and_predicts(tiny_mmseg_vit: Factory, tmp_path: Path) -> None:
    """Its image encoder gives maps and class tokens, and its parent writes `init_cfg` into it."""
    net = tiny_mmseg_vit(
        img_size=(32, 32), out_origin=True, output_cls_token=True, pre_norm=True,
        final_norm=False, out_indices=(0, 1, 2), frozen_exclude=['pos_embed'],
    )  # fmt: skip
    cfg = san(net)
    cfg.pretrained = str(tmp_path / 'clip.pth')
    torch.save(clip_weights(cfg), cfg.pretrained)
    train_and_predict(cfg, lambda model: model.image_encoder)


def san(net: dict) -> ConfigDict:
    """mmseg's config of SAN, cut small."""
    cfg = shipped('san/san-vit-b16_coco-stuff164k-640x640.py')
    cfg.image_encoder = joined(net)
    cfg.data_preprocessor.update(size_divisor=64, test_cfg=dict(size_divisor=32))
    small = dict(num_heads=2, mlp_ratio=1)
    cfg.text_encoder.update(
        dataset_name=None, vocabulary=['sky', 'road', 'tree'], templates=['a {}.'],
        total_vocab_size=49408, embed_dims=8, num_layers=1, output_dims=8, **small,
    )  # fmt: skip
    head = cfg.decode_head
    head.num_classes, head.deep_supervision_idxs = 3, [1]
    head.loss_decode[0].class_weight = [1.0] * 3 + [0.1]
    head.train_cfg.num_points = 16
    head.san_cfg.update(
        clip_channels=16, embed_dims=8, num_queries=4,
        cfg_encoder=dict(num_encode_layer=4, **small),
        cfg_decoder=dict(
            num_heads=2, num_layers=1, embed_channels=8, mlp_channels=8, num_mlp=1, rescale=True
        ),
    )  # fmt: skip
    head.maskgen_cfg.update(sos_token_num=4, num_layers=1, embed_dims=16, out_dims=8, **small)
    return cfg


def clip_weights(cfg: ConfigDict) -> dict[str, Tensor]:
    """A checkpoint for the parts of SAN; its head cannot be initialized without one."""
    bare_cfg = ConfigDict(**{**cfg, 'pretrained': None}, _scope_='mmseg')
    state = ROOT_MODELS.build(bare_cfg).state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {k.replace('.trunk.', '.'): v for k, v in state.items() if '.adapters.' not in k}
    return {k: torch.randn(v.shape, generator=generator) * 0.1 for k, v in state.items()}


def joined(net: dict) -> ConfigDict:
    wrapper = dict(type='mmqadapter.HighwayBackbone', backbone=net, adapter=CONV)
    return ConfigDict(quantizer=ONE_BIT, **wrapper, **JOINED)


def shipped(name: str) -> ConfigDict:
    import mmseg

    return Config.fromfile(Path(mmseg.__file__).parent / '.mim' / 'configs' / name).model


def train_and_predict(cfg: dict, backbone: Callable[[Any], nn.Module]) -> list[float]:
    """Losses of two steps; asserts that everything that trains moves and that masks come out."""
    model = ROOT_MODELS.build(ConfigDict(cfg, _scope_='mmseg'))
    model.init_weights()
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    batch = model.data_preprocessor(samples(), training=True)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    own = {n for n, _ in backbone(model).named_parameters(prefix='') if n.startswith('adapters.')}
    now = dict(model.named_parameters())
    still = {n for n, old in before.items() if torch.equal(now[n], old)}
    assert own and not {n for n in still if '.adapters.' in n}
    results = model.eval().test_step(samples())
    assert all(r.pred_sem_seg.data.shape == (1, 64, 64) for r in results)
    return losses


def samples() -> dict:
    from mmseg.structures import SegDataSample

    labels = torch.arange(64 * 64).view(1, 64, 64) // 2048
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=labels),
        metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64)),
    )
    pictures = images().mul(50).add(120).clamp(0, 255).byte()
    return dict(inputs=list(pictures), data_samples=[sample, sample.clone()])
