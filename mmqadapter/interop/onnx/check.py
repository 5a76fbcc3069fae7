"""Comparison of onnxruntime's logits with PyTorch's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mmqadapter.interop.onnx.graph import INPUT, OUTPUT
from mmqadapter.utils.text import one_line, root_cause

# Relative to the largest logit. Summing in another order changes float32 by about 1e-6 in small
# nets.
TOLERANCE = 1e-3


@torch.no_grad()
def pytorch_logits(net: nn.Module, image: Tensor) -> Tensor:
    """Compute logits (1, classes, H, W) with PyTorch.

    Args:
        net: In eval mode.
        image: (1, 3, H, W).

    Raises:
        ValueError: The net cannot process images of this size.
    """
    try:
        return net(image)
    except (AssertionError, RuntimeError) as error:
        height, width = image.shape[-2:]
        raise ValueError(
            f'image size {height} x {width} is invalid: the model cannot process it '
            f'({one_line(root_cause(error))}); give another --image-size, such as the training '
            'crop.'
        ) from error


def run_graph(content: bytes, image: Tensor) -> np.ndarray:
    """Compute logits (1, classes, H, W) with onnxruntime on the CPU.

    Args:
        content: An ONNX file.
        image: (1, 3, H, W).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    return session.run([OUTPUT], {INPUT: image.numpy()})[0]


def check_graph(content: bytes, image: Tensor, logits: Tensor) -> float:
    """Return the largest difference between the logits of onnxruntime and of PyTorch.

    Args:
        content: An ONNX file.
        image: (1, 3, H, W).
        logits: What PyTorch computes, (1, classes, H, W).

    Returns:
        The difference relative to the largest logit.

    Raises:
        ValueError: It is above 1e-3, or the shapes differ.
    """
    actual, expected = run_graph(content, image), logits.numpy()
    if actual.shape != expected.shape:
        raise ValueError(
            f'the graph computes logits of shape {actual.shape}, PyTorch of {expected.shape}; '
            'nothing was written.'
        )
    difference = float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-12))
    if not difference <= TOLERANCE:
        raise ValueError(
            f'the logits of onnxruntime differ from those of PyTorch by {difference:.1e} of the '
            f'largest one, expected at most {TOLERANCE:.0e}; nothing was written. Try another '
            'version of torch or onnxruntime.'
        )
    return difference
