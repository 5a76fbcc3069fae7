"""What lets the package run with older releases of PyTorch, and with mmcv without operators."""
