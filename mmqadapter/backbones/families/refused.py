"""Networks that are refused although they could be built, with the reason and the remedy."""

from __future__ import annotations

_FROM_SCRATCH = 'it is trained from scratch, so that there is nothing to freeze; train it as it is'
_LAYERS_AROUND = 'its own layers around the pretrained net are trained from scratch; '
_MORE_IN_TRAINING = (
    'it returns more maps in training than in prediction, and a frozen trunk always runs as in '
    'prediction; train it as it is'
)
# By class; subclasses of networks that have a row are among them.
REFUSED = {
    'mmdet.models.backbones.hourglass.HourglassNet': _FROM_SCRATCH,
    'mmdet.models.backbones.trident_resnet.TridentResNet': (
        'its blocks run three times in training and once in prediction, and a frozen trunk always '
        'runs as in prediction; use ResNet'
    ),
    'mmseg.models.backbones.bisenetv1.BiSeNetV1': (
        f'{_LAYERS_AROUND}wrap the net inside it, '
        '`backbone_cfg=dict(type="mmqadapter.AdaptedBackbone", backbone=...)`'
    ),
    'mmseg.models.backbones.bisenetv2.BiSeNetV2': _FROM_SCRATCH,
    'mmseg.models.backbones.cgnet.CGNet': _FROM_SCRATCH,
    'mmseg.models.backbones.ddrnet.DDRNet': _MORE_IN_TRAINING,
    'mmseg.models.backbones.erfnet.ERFNet': _FROM_SCRATCH,
    'mmseg.models.backbones.fast_scnn.FastSCNN': _FROM_SCRATCH,
    'mmseg.models.backbones.icnet.ICNet': f'{_LAYERS_AROUND}train it as it is',
    'mmseg.models.backbones.pidnet.PIDNet': _MORE_IN_TRAINING,
    'mmseg.models.backbones.stdc.STDCContextPathNet': f'{_LAYERS_AROUND}train it as it is',
    'mmseg.models.backbones.unet.UNet': _FROM_SCRATCH,
}
