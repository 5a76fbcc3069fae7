"""RetinaNet, Swin-L (ImageNet-22k), Pascal VOC 07+12 at 1000 x 600, 4 epochs of 3 repeats.

bash tools/dist_train.sh configs/zoo/retinanet_swin-l_voc0712.py 8
One GPU: python tools/train.py configs/zoo/retinanet_swin-l_voc0712.py
Another method: put MMQADAPTER_METHOD=mona in front; configs/_base_/methods/ has the names.
"""

_base_ = [
    'mmdet::pascal_voc/retinanet_r50_fpn_1x_voc0712.py',
    '../_base_/models/swin.py',
    '../_base_/recipes/detection_adamw.py',
]
# RetinaNet starts at stride 8, so the map of the first stage is not needed.
net = dict(_base_.swin_l, drop_path_rate=0.2, out_indices=(1, 2, 3))
model = dict(
    backbone=dict(_delete_=True, backbone=net, **_base_.method),
    neck=dict(in_channels=[384, 768, 1536], start_level=0),
)
optim_wrapper = dict(_base_.method_optim_wrapper, _delete_=True)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='pascal_voc/mAP')
)
