"""Does onnxruntime compute what PyTorch computes?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mmqadapter.interop.onnx.graph import INPUT, OUTPUT

# Of the largest logit. Float32 in another order of sums differs by about 1e-6 in small nets.
TOLERANCE = 1e-3


@torch.no_grad()
def pytorch_logits(net: nn.Module, image: Tensor) -> Tensor:
    """Logits (1, classes, H, W) that PyTorch computes.

    Args:
        net: In eval mode.
        image: (1, 3, H, W).

    Raises:
        ValueError: The net does not take images of this size.
    """
    try:
        return net(image)
    except (AssertionError, RuntimeError) as error:
        height, width = image.shape[-2:]
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise ValueError(
            f'image size {height} x {width}: the model does not take it ({reason}); give another '
            '--image-size, such as the training crop.'
        ) from error


def run_graph(content: bytes, image: Tensor) -> np.ndarray:
    """Logits (1, classes, H, W) that onnxruntime computes on the CPU.

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
    """Largest difference of onnxruntime's logits from PyTorch's, as a share of the largest logit.

    Raises:
        ValueError: It is above 1e-3.
    """
    got, wanted = run_graph(content, image), logits.numpy()
    if got.shape != wanted.shape:
        raise ValueError(f'the graph gives logits {got.shape}, PyTorch {wanted.shape}.')
    difference = float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-12))
    if not difference <= TOLERANCE:
        raise ValueError(
            f'onnxruntime gives other logits than PyTorch: they differ by {difference:.1e} of the '
            f'largest one, at most {TOLERANCE:.0e} is expected; nothing was written. Try another '
            'version of torch or onnxruntime.'
        )
    return difference
