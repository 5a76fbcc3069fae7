"""Few-shot FGVC: 5 sets at 1, 2, 4, 8 or 16 images per class, drawn with three seeds.

The environment variables FGVC_SET, FGVC_SHOTS and FGVC_SEED name the set, the number and the seed.
Layout below data_root: images/, and the lists annotations/train_meta.list.num_shot_SHOTS.seed_SEED
and annotations/test_meta.list with a line 'NAME NUMBER' per image of images/.
"""

task = '{{$FGVC_SET:oxford_pets}}'
num_classes = dict(
    fgvc_aircraft=100, food101=101, oxford_flowers102=102, oxford_pets=37, stanford_cars=196,
)[task]  # fmt: skip
data_root = '{{$MMQADAPTER_DATA:data}}/fgvc/' + task
train_list = 'annotations/train_meta.list.num_shot_{{$FGVC_SHOTS:1}}.seed_{{$FGVC_SEED:0}}'
metainfo = dict(classes=tuple(f'{task} {number}' for number in range(num_classes)))
preprocessor = dict(
    type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True,
)  # fmt: skip
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.5, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
dataset = dict(
    type='CustomDataset', data_root=data_root, data_prefix='images', metainfo=metainfo,
)  # fmt: skip
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(ann_file=train_list, pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/test_meta.list', test_mode=True, pipeline=test_pipeline, **dataset
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
