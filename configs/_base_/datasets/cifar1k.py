"""1,000 images of CIFAR-10 to train and validate, 2,000 of its test images; enlarged to 112 x 112.

Layout below data_root: {train,val,test}/CLASS/*.png of 32 x 32 pixels, 80, 20 and 200 per class.
CIFAR_TEST=val validates on the 200 images of val/ instead of test/.
"""

data_root = '{{$MMQADAPTER_DATA:data}}/cifar1k'
test_split = '{{$CIFAR_TEST:test}}'
classes = (
    'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck',
)  # fmt: skip
preprocessor = dict(type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
enlarge = dict(type='Resize', scale=(112, 112), interpolation='bicubic')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    enlarge,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), enlarge, dict(type='PackInputs')]
dataset = dict(type='CustomDataset', data_root=data_root, metainfo=dict(classes=classes))
# Images are small: without processes of its own, a loader takes less time than with them.
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(data_prefix='train', pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data_prefix=test_split, test_mode=True, pipeline=test_pipeline, **dataset),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
