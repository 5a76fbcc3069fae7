"""Export of a tuned segmentor to an ONNX graph, which runs without this package and PyTorch."""

from mmqadapter.interop.onnx.export import Exported, export_onnx
from mmqadapter.interop.onnx.graph import OPSET

__all__ = ['OPSET', 'Exported', 'export_onnx']
