"""Conversion to and from other formats: PETL-ViT, PEFT, ONNX, plain mmdet and mmseg models."""
