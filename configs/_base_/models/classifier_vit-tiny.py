"""Linear classifier on the class token of a ViT-Tiny, 1-bit AdaptFormer, for small data."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmqadapter.AdaptedBackbone',
        backbone=dict(
            type='mmqadapter.TimmBackbone',
            model_name='vit_tiny_patch16_224',
            checkpoint='{{$MMQADAPTER_DATA:data}}/weights/vit_tiny_patch16_224.safetensors',
            out_indices=(11,),
            out_type='cls_token',
        ),
        adapter=dict(type='AdaptFormer', width=32, dropout=0.0),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=192,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)
