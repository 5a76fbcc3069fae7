"""Linear classifier on the class token of a ViT-B/16 (ImageNet-21k), 1-bit AdaptFormer."""

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmqadapter.AdaptedBackbone',
        trunk_drop_path=True,
        # timm fetches the weights once; without a network: checkpoint='FILE', pretrained=False.
        backbone=dict(
            type='mmqadapter.TimmBackbone',
            model_name='vit_base_patch16_224.augreg_in21k',
            pretrained=True,
            out_indices=(11,),
            out_type='cls_token',
            drop_path_rate=0.1,
        ),
        adapter=dict(type='AdaptFormer', width=32, scale=0.1),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=768,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)
