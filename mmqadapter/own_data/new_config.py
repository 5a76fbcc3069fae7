"""From a folder of annotated images to a config that trains on it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from mmengine.config import Config

from mmqadapter.own_data.formats import read_folder
from mmqadapter.own_data.images import unread_images
from mmqadapter.own_data.methods import Method, class_rates, method_of, rates
from mmqadapter.own_data.models import MODELS, Model, describe_model
from mmqadapter.own_data.originals import check_originals
from mmqadapter.own_data.parts import Parts, class_parts, instance_parts, label_map_parts
from mmqadapter.own_data.proposal import Proposal, propose, propose_classifier
from mmqadapter.own_data.samples import FoundData, ImageClassData, InstanceData, LabelMapData
from mmqadapter.registry import MODELS as REGISTRY
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.text import printable

TASKS = {
    'semantic': ('mmseg', 'UperNet', 'mIoU'),
    'instances': ('mmdet', 'Mask R-CNN', 'coco/segm_mAP'),
    'boxes': ('mmdet', 'Faster R-CNN', 'coco/bbox_mAP'),
    'classes': ('mmpretrain', 'Image classifier', 'accuracy/top1'),
}
# Name of each package, and the extra that installs it.
PACKAGES = {
    'mmdet': ('mmdetection', 'det'),
    'mmseg': ('mmsegmentation', 'seg'),
    'mmpretrain': ('mmpretrain', 'cls'),
}
BASE_STRIDE = 4  # of the finest map of the pyramid
LINE = 100  # characters


@dataclass(frozen=True)
class Choices:
    """Choices of the user; None stands for a proposal from data and machine.

    Attributes:
        model: Short name of a backbone, or a name of timm.
        method: ``highway``, ``adapter``, ``lora``, ``mona``, ``frozen`` or ``full``.
        bits: Bits per weight of the adapters.
        classes: Names of the classes, in the order of their numbers.
        format: Key of ``formats.FORMATS``.
        checkpoint: File with the weights of the backbone, instead of those of timm.
        batch: Images per step and GPU.
        iterations: Steps of the training.
        seed: Seed of the split, if the data have none.
    """

    model: str = 'vit-tiny'
    method: str = 'highway'
    bits: int = 1
    classes: tuple[str, ...] | None = None
    format: str | None = None
    checkpoint: str | None = None
    batch: int | None = None
    iterations: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class NewConfig:
    """A written config.

    Attributes:
        path: The config.
        found: Sentence on the data.
        split: Sentence on the split.
        notes: Remarks on the data.
        converted: Folder of converted files, or None if training reads the data as they are.
        proposal: Size, batch and length.
    """

    path: Path
    found: str
    split: str
    notes: list[str]
    converted: Path | None
    proposal: Proposal


def new_config(
    folder: str | Path, out: str | Path, choices: Choices | None = None, force: bool = False
) -> NewConfig:
    """Write a config that trains on the data of a folder.

    Files of the folder are not changed. Those that training cannot read are converted into a folder
    beside it, named like it with ``_mmqadapter`` at the end.

    Args:
        folder: Folder of annotated images.
        out: The config to write.
        choices: Model, method and so on.
        force: Replace an existing config.

    Raises:
        FileNotFoundError: There is no such folder.
        FaultyAnnotationsError: Annotations that would be converted have errors.
        ValueError: The data are of no known format or invalid, a choice is invalid, the config
            exists, it needs an mm package that is not installed, or the backbone does not fit the
            method or the weights.
    """
    choices = choices or Choices()
    path, root = Path(out), Path(folder).resolve()
    if path.suffix != '.py':
        raise ValueError(f'out={str(out)!r} is invalid: expected a file name that ends in .py.')
    if path.exists() and not force:
        raise ValueError(f'{str(path)!r} exists: choose another name, or replace it with --force.')
    _check_numbers(choices)
    model, method = describe_model(choices.model), method_of(choices.method, choices.bits)
    _check_backbone(model, method, choices.checkpoint)
    data = _with_classes(_checked(read_folder(root, choices.format)), choices.classes)
    if isinstance(data, LabelMapData) and choices.batch == 1:
        raise ValueError('batch=1 is invalid: expected 2 or more, as the head has batch norm.')
    _check_packages(data, model)
    converted = root.with_name(f'{root.name}_mmqadapter')
    parts = _parts(data, converted, choices.seed)
    proposal = _proposal(data, parts, model, choices)
    text = _text(path, data, parts, model, proposal, choices)
    atomic_write(path, text.encode())
    written = converted if converted.exists() else None
    notes = [*data.notes, *unread_images(root)]
    return NewConfig(path, _found(data, parts), parts.split, notes, written, proposal)


def _check_numbers(choices: Choices) -> None:
    for name, least in (('iterations', 2), ('batch', 1)):
        value = getattr(choices, name)
        if value is not None and value < least:
            raise ValueError(f'{name}={value} is invalid: expected {least} or more.')


def task_of(data: FoundData) -> str:
    """Return ``semantic``, ``classes``, ``instances`` (every object has a mask) or ``boxes``."""
    if isinstance(data, LabelMapData):
        return 'semantic'
    if isinstance(data, ImageClassData):
        return 'classes'
    return 'instances' if data.has_masks else 'boxes'


def packages_of(data: FoundData, model: Model) -> list[str]:
    """Return the modules of the mm packages that a config names."""
    scope = TASKS[task_of(data)][0]
    needs_neck = scope == 'mmdet' and not model.pyramid  # that of a ViT is one of mmseg
    return [scope, 'mmseg'] if needs_neck else [scope]


def _check_packages(data: FoundData, model: Model) -> None:
    """Check that the mm packages that the config will name are installed."""
    for module in packages_of(data, model):
        if find_spec(module) is None:
            name, extra = PACKAGES[module]
            raise ValueError(
                f'the config needs {name}, which is not installed; run `pip install '
                f"'mmqadapter[{extra}]'`, or `pip install {name}` beside the upstream packages."
            )


def _check_backbone(model: Model, method: Method, checkpoint: str | None) -> None:
    """Build the backbone, which refuses a method or a weight file that does not fit it.

    Weights of timm are left out: they fit, and may not have been fetched yet.
    """
    settings = ', '.join(f'{key}={value}' for key, value in method.settings.items())
    wrapper = Config.fromstring(f'backbone = dict({settings})', '.py').backbone
    net = dict(
        type='mmqadapter.TimmBackbone',
        model_name=model.name,
        out_indices=model.out_indices,
        checkpoint=checkpoint,
    )
    wrapped = dict(type=method.wrapper, backbone=net, **wrapper) if method.wrapper else net
    REGISTRY.build(wrapped)


def _checked(data: FoundData) -> FoundData:
    """Check what a conversion would hide; add notes on what it mends."""
    if not isinstance(data, InstanceData) or data.is_readable:
        return data
    return replace(data, notes=[*data.notes, *check_originals(data)])


def _with_classes(data: FoundData, classes: tuple[str, ...] | None) -> FoundData:
    if classes is None:
        return data
    if len(classes) != len(data.classes):
        raise ValueError(
            f'{len(classes)} class names are given, but the data have {len(data.classes)} classes: '
            f'{", ".join(data.classes)}.'
        )
    if not isinstance(data, LabelMapData):
        raise ValueError(f'the data name their classes themselves: {", ".join(data.classes)}.')
    return replace(data, classes=classes, notes=[])


def _parts(data: FoundData, converted: Path, seed: int) -> Parts:
    if isinstance(data, LabelMapData):
        return label_map_parts(data, converted, seed)
    if isinstance(data, ImageClassData):
        return class_parts(data, converted, seed)
    return instance_parts(data, converted, seed)


def _proposal(data: FoundData, parts: Parts, model: Model, choices: Choices) -> Proposal:
    if isinstance(data, ImageClassData):
        proposal = propose_classifier(len(parts.sizes), model.patch)
    else:
        proposal = propose(parts.sizes, model.patch, isinstance(data, LabelMapData))
    return replace(
        proposal,
        batch=choices.batch or proposal.batch,
        iterations=choices.iterations or proposal.iterations,
        chosen=tuple(name for name in ('batch', 'iterations') if getattr(choices, name)),
    )


def _found(data: FoundData, parts: Parts) -> str:
    count = f'{len(parts.sizes)} train and {parts.val_count} val images'
    classes = f'{len(data.classes)} class{"es" if len(data.classes) != 1 else ""}'
    return f'{data.format} with {count}, {classes}: {_listed(data.classes)}.'


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def _text(
    path: Path, data: FoundData, parts: Parts, model: Model, proposal: Proposal, choices: Choices
) -> str:
    environment = Environment(
        loader=PackageLoader('mmqadapter.own_data'),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(q=repr, names=_tuple_text)
    classifies = isinstance(data, ImageClassData)
    template = environment.get_template(f'{"classifier" if classifies else "config"}.py.jinja')
    return template.render(
        **_data_fields(path, data, parts),
        **_model_fields(data, parts, model, choices),
        **_length_fields(parts, proposal),
    )


def _plain(text: str) -> str:
    """Return text that cannot end a docstring."""
    return printable(text).replace('\\', '/').replace('"', "'")


def _in_docstring(text: str) -> str:
    """Return text escaped where a docstring would end or read it otherwise."""
    return text.replace('\\', '\\\\').replace('"""', '\\"\\"\\"')


def _tuple_text(names: tuple[str, ...]) -> str:
    """Return a tuple as Python text, one name per line if it is long."""
    line = repr(tuple(names))
    if len(line) <= LINE - len('classes = '):
        return line
    return '(\n' + ''.join(f'    {name!r},\n' for name in names) + ')'


def _data_fields(path: Path, data: FoundData, parts: Parts) -> dict[str, Any]:
    task = task_of(data)
    scope, head, best = TASKS[task]
    return {
        'file': _in_docstring(shlex.quote(printable(path.name))),
        'task': task,
        'scope': scope,
        'task_text': head,
        'best': best,
        'found': _plain(_found(data, parts)),
        'split': f'Split: {parts.split}.',
        'data_root': data.root.as_posix(),
        'classes': data.classes,
        'train': parts.train,
        'val': parts.val,
    }


def _model_fields(data: FoundData, parts: Parts, model: Model, choices: Choices) -> dict[str, Any]:
    method = method_of(choices.method, choices.bits)
    semantic = isinstance(data, LabelMapData)
    if isinstance(data, ImageClassData):
        rate, mult = class_rates(choices.method)
    else:
        rate, mult = rates(choices.method, semantic, max(model.channels))
    return {
        'model': model,
        'short_name': choices.model if choices.model in MODELS else model.name,
        'checkpoint': choices.checkpoint and Path(choices.checkpoint).resolve().as_posix(),
        'method': method,
        'method_text': method.text,
        'width': 64 if max(model.channels) <= 384 else 256,
        'rate': rate,
        'rate_key': method.rate_key,
        'rate_mult': mult,
        'anchor': _anchor(data),
        'reads_token': model.class_token and choices.method != 'highway',
        **_stride_fields(model),
    }


def _stride_fields(model: Model) -> dict[str, Any]:
    """Return the strides of a pyramid made of the maps of a plain ViT."""
    strides = [model.patch * scale / 4 for scale in (1, 2, 4, 8, 16)]
    usual = model.pyramid or model.patch == 16
    featmap_strides = '' if usual else f', featmap_strides={strides[:4]}'
    return {'strides': strides, 'featmap_strides': featmap_strides}


def _length_fields(parts: Parts, proposal: Proposal) -> dict[str, Any]:
    count = len(parts.sizes)
    return {
        'size': proposal.size,
        'batch': proposal.batch,
        'iterations': proposal.iterations,
        'passes': _passes(proposal.iterations * proposal.batch, count),
        'train_count': count,
        'origin': proposal.origin,
    }


def _passes(samples: int, count: int) -> str:
    """Return how often all of the training images are seen, as text."""
    number = round(samples / count)
    if samples < count:
        return 'less than one pass'
    return f'about {number} pass{"es" if number != 1 else ""}'


def _anchor(data: FoundData) -> int:
    """Return the anchor scale: 8 as for COCO, 4 if the smaller half of all objects is small."""
    if not isinstance(data, InstanceData):
        return 8
    samples = (sample for samples in data.splits.values() for sample in samples)
    sides = sorted(max(item.box[2:]) for sample in samples for item in sample.instances)
    return 4 if sides and sides[len(sides) // 2] < 8 * BASE_STRIDE else 8
