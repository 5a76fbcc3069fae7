"""To and from the formats of others: PETL-ViT, PEFT, ONNX, plain mmdet and mmseg models."""
