"""Training checkpoints (``.pth``): reading them safely, and checking that they fit a model."""
