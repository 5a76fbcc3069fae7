"""Few-shot FGVC, a set by FGVC_SET: ViT-B/16, 1-bit AdaptFormer (arXiv 2307.16867)."""

_base_ = [
    '../_base_/recipes/classifier_1k.py',
    '../_base_/models/classifier_vit-b.py',
    '../_base_/datasets/fgvc.py',
]
model = dict(data_preprocessor=_base_.preprocessor, head=dict(num_classes=_base_.num_classes))
