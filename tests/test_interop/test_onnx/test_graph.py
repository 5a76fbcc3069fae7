"""Graphs of tuned segmentors: onnxruntime computes the logits of PyTorch, from constants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from segmentors import ADAPTFORMER, JOINED, LORA, PUBLISHED, image, logits, make
from torch import nn
from torch.nn.utils import parametrize

from mmqadapter.interop.onnx.check import check_graph, pytorch_logits, run_graph
from mmqadapter.interop.onnx.graph import OPSET, make_graph
from mmqadapter.interop.onnx.segmentor import PlainSegmentor
from mmqadapter.quant import GaussianQuantizer
from mmqadapter.taskfile.head_bits import layer_bits, train_quantized

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
BITS = {'decode_head.*': 2, 'decode_head.conv_seg': 8}
# Every adapter site, both layouts of q, k and v, window masks, registers, resized position
# embeddings, and pooling to sizes that do not divide the maps.
CASES = {
    'mmseg ViT, AdaptFormer of 1 bit': ('mmseg_vit', ADAPTFORMER),
    'mmseg Swin, LoRA': ('mmseg_swin', LORA),
    'timm Swin, joined highway': ('timm_swin', JOINED),
    'timm Swin, standardized highway': (
        'timm_swin',
        dict(JOINED, cell='StandardizedCell', taps='block'),
    ),
    'DINOv2, published highway of 1 bit': ('dinov2', PUBLISHED),
}


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_onnxruntime_computes_the_logits_of_pytorch(case: str) -> None:
    model = make(*CASES[case])
    train_quantized(model, layer_bits(model, BITS))
    expected = logits(model, image())
    latent = _latent(model)
    net = PlainSegmentor(model).eval()
    graph = make_graph(net, image())
    onnx.checker.check_model(graph, full_check=True)
    assert [(o.domain, o.version) for o in graph.opset_import] == [('', OPSET)]
    actual = run_graph(graph.SerializeToString(), image())
    assert np.abs(actual - expected.numpy()).max() < 2e-5 * expected.abs().max().item()
    assert not np.allclose(run_graph(graph.SerializeToString(), 2 * image()), actual, atol=1e-3)
    _assert_weights_are_constants(graph, net.model, latent)


def _assert_weights_are_constants(graph: Any, model: nn.Module, latent: list[np.ndarray]) -> None:
    """Check that the graph has each decoded matrix and kernel, or its transpose, and no latent."""
    constants = [onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer]
    found = {array.tobytes() for array in constants}
    found |= {np.ascontiguousarray(array.T).tobytes() for array in constants if array.ndim == 2}
    parts = (model.backbone.adapters, model.decode_head)
    weights = [layer.weight.detach().numpy() for part in parts for layer in _layers(part)]
    assert all(weight.tobytes() in found for weight in weights)
    assert not any(weight.tobytes() in found for weight in latent)


def _layers(part: nn.Module) -> Iterator[Any]:
    return (m for m in part.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))


def _latent(model: nn.Module) -> list[np.ndarray]:
    """Return the weights behind quantizers, which the optimizer updates."""
    lists = [m for m in model.modules() if isinstance(m, parametrize.ParametrizationList)]
    quantized = [chain for chain in lists if isinstance(chain[0], GaussianQuantizer)]
    assert quantized
    return [chain.original.detach().clone().numpy() for chain in quantized]


def test_graph_with_other_logits_is_refused() -> None:
    net = nn.Conv2d(3, 4, 1).eval().requires_grad_(False)
    content = make_graph(net, image(8, 8)).SerializeToString()
    assert check_graph(content, image(8, 8), net(image(8, 8))) < 1e-6
    with pytest.raises(
        ValueError, match=r'logits of onnxruntime differ from those of PyTorch by .* of the largest'
    ):
        check_graph(content, image(8, 8), net(image(8, 8)) + 1)
    with pytest.raises(
        ValueError, match=r'logits of shape \(1, 4, 8, 8\), PyTorch of \(1, 4, 8, 4\)'
    ):
        check_graph(content, image(8, 8), net(image(8, 4)))


def test_image_that_is_too_small_for_the_net_is_refused() -> None:
    net = nn.Conv2d(3, 4, 5).eval()
    assert pytorch_logits(net, image(8, 8)).shape == (1, 4, 4, 4)
    with pytest.raises(
        ValueError, match=r'image size 2 x 3 is invalid: .* Kernel size .* training crop'
    ):
        pytorch_logits(net, image(2, 3))


class DataDependentBranch(nn.Module):
    """Module that branches on its input, which no graph can do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if bool(x.sum() > 0) else -x


def test_error_of_the_exporter_is_one_line() -> None:
    with pytest.raises(ValueError, match=r'^PyTorch [^\n]* cannot export this model: [^\n]+$'):
        make_graph(DataDependentBranch().eval(), image(8, 8))
