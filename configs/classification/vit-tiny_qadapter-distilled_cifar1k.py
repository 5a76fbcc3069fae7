"""1,000 images of CIFAR-10: adapters of width 14 and a classifier, all of 1 bit, with a teacher.

Train the teacher first, adapters of width 32 in float:

    mmqadapter train configs/classification/vit-tiny_qadapter_cifar1k.py \
        --work-dir work_dirs/cifar1k_teacher --cfg-options model.backbone.quantizer=None
"""

_base_ = './vit-tiny_qadapter_cifar1k.py'
model = dict(backbone=dict(adapter=dict(width=14, bias=False)))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmqadapter.QuantizeTaskHook', bits={'head.fc': 1}),
    dict(
        type='mmqadapter.DistillationHook',
        config='work_dirs/cifar1k_teacher/vit-tiny_qadapter_cifar1k.py',
        weights='work_dirs/cifar1k_teacher/last.task.safetensors',
        layer='head.fc',
    ),
]
