"""Mask R-CNN, Swin-T (ImageNet-1k), COCO, 36 epochs of batch 16.

bash tools/dist_train.sh configs/zoo/mask-rcnn_swin-t_3x_coco.py 8
One GPU: python tools/train.py configs/zoo/mask-rcnn_swin-t_3x_coco.py
Another method: put MMQADAPTER_METHOD=mona in front; configs/_base_/methods/ has the names.
"""

_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/models/swin.py',
    '../_base_/recipes/coco_3x.py',
]
model = dict(
    backbone=dict(_delete_=True, backbone=_base_.swin_t, **_base_.method),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
