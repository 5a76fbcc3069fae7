"""VTAB-1K, a task by VTAB_TASK: ViT-B/16, 1-bit AdaptFormer (arXiv 2307.16867)."""

_base_ = [
    '../_base_/recipes/classifier_1k.py',
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/vtab-1k.py',
]
model = dict(data_preprocessor=_base_.preprocessor, head=dict(num_classes=_base_.num_classes))
