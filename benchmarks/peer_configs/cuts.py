"""Cut a config to a size that runs on a CPU in seconds, in the same way with and without us."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mmengine.config import Config, ConfigDict

from benchmarks.peer_configs.configs import backbone_parent, nodes

# Sides of an image in pixels; the larger ones for models for which the first is too small.
SIZES = (64, 128, 448)
WEIGHTS = '<weights>'  # stands for the file of the backbone's weights
# Largest value of a number, by its key.
LIMITS = {
    'max_per_img': 20,
    'num_proposals': 20,  # of QueryInst; equal to max_per_img
    'nms_pre': 100,
    'num': 32,  # samples of a detector's heads
    'num_queries': 30,
    'sos_token_num': 30,  # of SAN; equal to num_queries
    'num_dn_queries': 10,
    'num_cp': 0,  # activation checkpointing of an encoder, which needs fairscale
}
MANY_CLASSES, FEW_CLASSES = 500, 80  # V3Det has 13,204
SEGMENTOR_CLASSES = 19  # Cityscapes
MANY_POINTS, FEW_POINTS = 1000, 128  # sampled in mask losses
LANGUAGE_KEYS = ('lang_model_name', 'name')


def cut(cfg: Config, language_model: str = '<language model>', size: int = SIZES[0]) -> Config:
    """Return a smaller copy of a config.

    Args:
        cfg: A config as shipped.
        language_model: Folder of a small BERT.
        size: Sides of an image, in pixels.
    """
    cfg = Config(cfg.to_dict())
    found = backbone_parent(cfg.model)
    assert found is not None
    net = found[0][found[1]]
    for path, node in nodes(cfg.model):
        _cut_numbers(path, node)
        _cut_sizes(path, node, size)
        _replace(node, language_model, keep_weights=node is net)
        if path and node is not net and isinstance(node.get('pretrained'), str):
            node['pretrained'] = None  # such as the second backbone in the neck of DetectoRS
    if cfg.model.get('pretrained'):
        cfg.model.pretrained = WEIGHTS
    _cut_classes(cfg)
    _cut_backbone(net, size)
    if 'text_encoder' in cfg.model:
        # 14 templates x 171 classes x 77 tokens x 12 layers take minutes on a CPU.
        cfg.model.text_encoder.update(num_layers=1, templates=['a photo of a {}.'])
    return cfg


def _cut_classes(cfg: Config) -> None:
    """Give segmentors that differ in their data alone one number of classes.

    Lists of class weights and names of classes tie a model to its number.
    """
    tied = any({'class_weight', 'vocabulary'} & node.keys() for _, node in nodes(cfg.model))
    if cfg.default_scope != 'mmseg' or tied:
        return
    for _, node in nodes(cfg.model):
        if node.get('num_classes', 0) > 2:
            node['num_classes'] = SEGMENTOR_CLASSES


def _cut_numbers(path: tuple[str, ...], node: dict) -> None:
    for key, limit in LIMITS.items():
        if isinstance(node.get(key), int):
            node[key] = min(node[key], limit)
    if node.get('num_classes', 0) > MANY_CLASSES:
        node['num_classes'] = FEW_CLASSES
    if isinstance(node.get('num_points'), int) and node['num_points'] > MANY_POINTS:
        node['num_points'] = FEW_POINTS
    if 'use_autocast' in node:
        node['use_autocast'] = False  # bfloat16 on a CPU
    if 'score_thr' in node and 'test_cfg' in path:
        node['score_thr'] = 0.0  # so that there are predictions to compare
    if path and path[-1] in ('encoder', 'decoder', 'transformer_decoder', 'transformer_encoder'):
        node['num_layers'] = min(node.get('num_layers', 2), 2)


def _cut_sizes(path: tuple[str, ...], node: dict, size: int) -> None:
    if 'crop_size' in node and 'stride' in node:  # prediction in windows
        node.update(crop_size=(size, size), stride=(size * 2 // 3,) * 2)
    if 'data_preprocessor' in path:
        if node.get('size'):
            node['size'] = (size, size)
        if (node.get('size_divisor') or 0) > size:
            node['size_divisor'] = size
    if 'Pooling' in str(node.get('type')) and 'kernel_size' in node:
        node['kernel_size'] = (size // 32,) * 2  # a whole map (ReID)
    if 'random_size_range' in node:
        node.update(random_size_range=(size, size))


def _replace(node: dict, language_model: str, keep_weights: bool) -> None:
    if 'SyncBN' in str(node.get('type')):
        node['type'] = 'BN'
    for key in LANGUAGE_KEYS:
        if str(node.get(key)).startswith('bert-'):
            node[key] = language_model
    init_cfg = node.get('init_cfg')
    if isinstance(init_cfg, dict) and init_cfg.get('checkpoint'):  # PVT gives it no type
        # Our file has the names of the net alone.
        plain = {key: value for key, value in init_cfg.items() if key != 'prefix'}
        node['init_cfg'] = ConfigDict({**plain, 'checkpoint': WEIGHTS})
        if not keep_weights:
            node['init_cfg'] = None
    if keep_weights and node.get('pretrained'):
        node['pretrained'] = WEIGHTS
    if node.get('convert_weights'):
        node['convert_weights'] = False  # our file has the names of the net


def _cut_backbone(net: dict, size: int) -> None:
    """Keep two blocks a stage of a Swin and its like, and one block per output of a ViT.

    A ResNet of more layers becomes one of 50, whose blocks have the same kind and width.
    """
    _cut_arch(net)
    for _, stage in nodes(net.get('extra')):  # HRNet
        if 'num_modules' in stage:
            stage['num_modules'] = min(stage['num_modules'], 2)
            stage['num_blocks'] = tuple(min(n, 2) for n in stage['num_blocks'])
    if net.get('depth') in (101, 152, 200):
        net['depth'] = 50
    if 'deepen_factor' in net:
        net['deepen_factor'] = min(net['deepen_factor'], 0.33)  # one block in the first stage
    for key in ('depths', 'num_layers'):
        if isinstance(net.get(key), (list, tuple)):
            net[key] = type(net[key])(min(depth, 2) for depth in net[key])
    if 'img_size' in net:
        net['img_size'] = (size, size)
    if isinstance(net.get('num_layers'), int):
        outputs = net.get('out_indices', -1)
        several = isinstance(outputs, (list, tuple))
        net['num_layers'] = max(len(outputs), 2) if several else 2
        if several:
            net['out_indices'] = tuple(range(net['num_layers'] - len(outputs), net['num_layers']))
        elif outputs != -1:
            net['out_indices'] = 1


def _cut_arch(net: dict) -> None:
    """Keep two blocks a stage of a net of mmpretrain, which names its depths by a word."""
    package, _, name = str(net.get('type')).partition('.')
    if package != 'mmpretrain' or not isinstance(net.get('arch'), str):
        return
    arch = dict(getattr(import_module('mmpretrain.models'), name).arch_settings[net['arch']])
    for key in {'depths', 'layers'} & arch.keys():
        arch[key] = [min(depth, 2) for depth in arch[key]]
    net['arch'] = arch


def cut_resnets(package: str) -> None:
    """Leave two blocks in each stage of the ResNets of a package; a config cannot ask for it."""
    for cls in import_module(f'{package}.registry').MODELS.module_dict.values():
        settings = getattr(cls, 'arch_settings', None)
        for depth, setting in settings.items() if isinstance(settings, dict) else ():
            if isinstance(setting, tuple) and isinstance(setting[0], type):
                settings[depth] = (setting[0], tuple(min(n, 2) for n in setting[1]))


def set_weights(model: Any, file: str) -> Any:
    """Return a copy of a model config in which a file takes the place of ``WEIGHTS``."""
    model = Config({'model': model.to_dict()}).model
    for _, node in nodes(model):
        for key, value in node.items():
            if value == WEIGHTS:
                node[key] = file
    return model
