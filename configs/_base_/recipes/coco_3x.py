"""36 epochs of COCO as published for Swin: multi-scale crops, AdamW, mixed precision, batch 16."""

_base_ = [
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
    './detection_adamw.py',
]
max_epochs = 36
_scales = [(side, 1333) for side in range(480, 801, 32)]


def _resize(scales):
    return dict(type='RandomChoiceResize', scales=scales, keep_ratio=True)


# As in DETR: half of the images are cropped between two resize steps.
_crop = dict(
    type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True
)
_cropped = [_resize([(400, 1333), (500, 1333), (600, 1333)]), _crop, _resize(_scales)]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='RandomChoice', transforms=[[_resize(_scales)], _cropped]),
            dict(type='PackDetInputs'),
        ]
    )
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', begin=0, end=max_epochs, milestones=[27, 33], gamma=0.1),
]
optim_wrapper = dict(_base_.method_optim_wrapper, _delete_=True)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='coco/segm_mAP')
)
