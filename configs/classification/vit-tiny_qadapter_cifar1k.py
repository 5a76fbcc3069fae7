"""1,000 images of CIFAR-10: ViT-Tiny, 1-bit AdaptFormer in the path of the frozen trunk."""

_base_ = [
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/models/classifier_vit-tiny.py',
    '../_base_/datasets/cifar1k.py',
    '../_base_/schedules/short.py',
    '../_base_/tuning.py',
]
model = dict(data_preprocessor=_base_.preprocessor)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=25, log_metric_by_epoch=False),
    checkpoint=dict(
        type='mmqadapter.TaskCheckpointHook', by_epoch=False, interval=200, max_keep_ckpts=1
    ),
)
