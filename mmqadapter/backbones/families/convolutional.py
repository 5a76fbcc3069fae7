"""Families of convolutional nets, of mmdetection, mmsegmentation and timm.

Adapters and taps of a highway sit on the outputs of blocks, behind the residual sum and its
activation: what a block adds to its shortcut has no width and grid in common with its input where
a stage begins.
"""

from __future__ import annotations

from mmqadapter.backbones.family import BlockFamily

_CONV_MODULE = ('conv', 'bn')
_SEPARABLE = (
    'depthwise_conv.conv',
    'depthwise_conv.bn',
    'pointwise_conv.conv',
    'pointwise_conv.bn',
)
_INVERTED = (
    'expand_conv.conv', 'expand_conv.bn', 'depthwise_conv.conv', 'depthwise_conv.bn',
    'linear_conv.conv', 'linear_conv.bn',
)  # fmt: skip

CONVOLUTIONAL = (
    BlockFamily(
        name='mmdet and mmseg ResNet',
        classes=(
            'mmdet.models.backbones.resnet.ResNet',
            'mmseg.models.backbones.resnet.ResNet',
            'mmpretrain.models.backbones.resnet.ResNet',
        ),
        blocks=r'layer(\d+)\.\d+',
        first_output=-1,
        block='BasicBlock|Bottleneck|Bottle2neck',
        channels='norm3|norm2',
        conv='conv2',
        channels_first=True,
        merging=r'layer[2-9]\.0\.downsample',
        merging_steps=('0', '1', '2'),
    ),
    BlockFamily(
        name='mmdet and mmseg HRNet',
        classes=(
            'mmdet.models.backbones.hrnet.HRNet',
            'mmseg.models.backbones.hrnet.HRNet',
        ),
        # All of stages 2 to 4; the first blocks, of one resolution, have no adapters.
        blocks=r'stage\d+\.\d+\.branches\.(\d+)\.\d+',
        block='BasicBlock|Bottleneck',
        channels='norm3|norm2',
        conv='conv2',
        channels_first=True,
        fused_maps=True,
        merging=r'stage4\.0\.fuse_layers\.(1\.0|2\.1|3\.2)\.0',
        merging_steps=('0', '1'),
    ),
    BlockFamily(
        name='mmdet CSPDarknet and CSPNeXt',
        classes=(
            'mmdet.models.backbones.csp_darknet.CSPDarknet',
            'mmdet.models.backbones.cspnext.CSPNeXt',
        ),
        blocks=r'stage(\d+)\.[1-9]',
        block='CSPLayer|SPPBottleneck',
        stages=r'stage(\d+)\.',
        channels='final_conv.norm|conv2.norm',
        channels_first=True,
        merging=r'stage[2-9]\.0',
        merging_steps=(*_CONV_MODULE, *_SEPARABLE),
    ),
    BlockFamily(
        name='mmdet Darknet',
        classes=('mmdet.models.backbones.darknet.Darknet',),
        blocks=r'conv_res_block(\d+)\.res\d+',
        block='ResBlock',
        stages=r'conv_res_block(\d+)\.',
        channels='conv2.norm',
        conv='conv2.conv',
        channels_first=True,
        merging=r'conv_res_block[2-9]\.conv',
        merging_steps=_CONV_MODULE,
    ),
    BlockFamily(
        name='mmdet EfficientNet',
        classes=('mmdet.models.backbones.efficientnet.EfficientNet',),
        blocks=r'layers\.(\d+)\.\d+',
        block='InvertedResidual|EdgeResidual',
        channels='linear_conv.norm|conv2.norm',
        conv='depthwise_conv.conv|conv1.conv',
        channels_first=True,
        merging=r'layers\.([2-9])\.0',
        merging_steps=_INVERTED,
    ),
    BlockFamily(
        name='mmdet MobileNetV2',
        classes=('mmdet.models.backbones.mobilenet_v2.MobileNetV2',),
        blocks=r'layer(\d+)\.\d+',
        first_output=-1,
        block='InvertedResidual',
        channels='linear_conv.norm',
        conv='depthwise_conv.conv',
        channels_first=True,
        merging=r'layer[2-9]\.0',
        merging_steps=_INVERTED,
    ),
    BlockFamily(
        name='mmseg MobileNetV2',
        classes=('mmseg.models.backbones.mobilenet_v2.MobileNetV2',),
        blocks=r'layer(\d+)\.\d+',
        first_output=-1,
        block='InvertedResidual',
        channels='conv.2.norm|conv.1.norm',
        channels_first=True,
        merging=r'layer[2-9]\.0\.conv',
        merging_steps=('0.conv', '0.bn', '1.conv', '1.bn', '2.conv', '2.bn'),
    ),
    BlockFamily(
        name='mmseg MobileNetV3',
        classes=('mmseg.models.backbones.mobilenet_v3.MobileNetV3',),
        blocks=r'layer(\d+)(?<!layer0)(?<!layer12)(?<!layer16)',
        block='InvertedResidualV3',
        channels='linear_conv.norm',
        conv='depthwise_conv.conv',
        channels_first=True,
    ),
    BlockFamily(
        name='timm ResNet',
        classes=('timm.models.resnet.ResNet',),
        blocks=r'model\.layer(\d+)\.\d+',
        block='BasicBlock|Bottleneck|Bottle2neck|ResNestBottleneck',
        channels='bn3|bn2',
        conv='conv2',
        channels_first=True,
        merging=r'model\.layer[2-9]\.0\.downsample',
        merging_steps=('0', '1', '2'),
    ),
    BlockFamily(
        name='timm RegNet',
        classes=('timm.models.regnet.RegNet',),
        blocks=r'model\.s(\d+)\.b\d+',
        block='Bottleneck',
        channels='conv3.bn',
        conv='conv2.conv',
        channels_first=True,
        merging=r'model\.s[2-9]\.b1\.downsample',
        merging_steps=_CONV_MODULE,
    ),
)
