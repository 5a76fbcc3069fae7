"""A tuned segmentor as an ONNX graph, which runs without this package and without PyTorch."""

from mmqadapter.onnx_export.export import Exported, export_onnx
from mmqadapter.onnx_export.graph import OPSET

__all__ = ['OPSET', 'Exported', 'export_onnx']
