"""VTAB-1K: 19 tasks of 1,000 training images; the environment variable VTAB_TASK names one.

Layout below data_root, as in the archive that the papers on adapters use: images/, and the lists
train800.txt, val200.txt, train800val200.txt and test.txt with a line 'images/... NUMBER' per image.
VTAB_TRAIN=train800.txt VTAB_TEST=val200.txt tunes settings without the test images. As in arXiv
2307.16867: 224 x 224 (bicubic), RGB from 0 to 1 without normalization, no augmentation.
"""

task = '{{$VTAB_TASK:cifar}}'
num_classes = dict(
    caltech101=102, cifar=100, dtd=47, oxford_flowers102=102, oxford_iiit_pet=37, sun397=397,
    svhn=10,
    diabetic_retinopathy=5, eurosat=10, patch_camelyon=2, resisc45=45,
    clevr_count=8, clevr_dist=6, dmlab=6, dsprites_loc=16, dsprites_ori=16, kitti=4,
    smallnorb_azi=18, smallnorb_ele=9,
)[task]  # fmt: skip
data_root = '{{$MMQADAPTER_DATA:data}}/vtab-1k/' + task
train_list = '{{$VTAB_TRAIN:train800val200.txt}}'
test_list = '{{$VTAB_TEST:test.txt}}'
metainfo = dict(classes=tuple(f'{task} {number}' for number in range(num_classes)))
preprocessor = dict(type='ClsDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, to_rgb=True)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(224, 224), interpolation='bicubic', backend='pillow'),
    dict(type='PackInputs'),
]
dataset = dict(
    type='CustomDataset', data_root=data_root, metainfo=metainfo, pipeline=pipeline,
)  # fmt: skip
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(ann_file=train_list, **dataset),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file=test_list, test_mode=True, **dataset),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
