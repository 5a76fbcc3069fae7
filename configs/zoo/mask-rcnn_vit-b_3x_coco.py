"""Mask R-CNN, plain ViT-B/16, COCO, 36 epochs of batch 16.

bash tools/dist_train.sh configs/zoo/mask-rcnn_vit-b_3x_coco.py 8
One GPU: python tools/train.py configs/zoo/mask-rcnn_vit-b_3x_coco.py
Another method: put MMQADAPTER_METHOD=mona in front; configs/_base_/methods/ has the names.
Weights: convert timm's ViT-B/16 with mmsegmentation's tools/model_converters/vit2mmseg.py.
"""

_base_ = ['../_base_/models/mask-rcnn_vit-b.py', '../_base_/recipes/coco_3x.py']
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone, **_base_.method))
