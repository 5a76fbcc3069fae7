"""From a folder of annotated images to a config that trains on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from mmqadapter.own_data.choices import Choices
from mmqadapter.own_data.config_text import config_text, found_text
from mmqadapter.own_data.formats import read_folder
from mmqadapter.own_data.images import unread_images
from mmqadapter.own_data.methods import Method, method_of
from mmqadapter.own_data.models import Model, describe_model
from mmqadapter.own_data.originals import check_originals
from mmqadapter.own_data.parts import Parts, class_parts, instance_parts, label_map_parts
from mmqadapter.own_data.proposal import Proposal, propose, propose_classifier
from mmqadapter.own_data.samples import FoundData, ImageClassData, InstanceData, LabelMapData
from mmqadapter.own_data.tasks import TASKS, task_of
from mmqadapter.registry import MODELS as REGISTRY
from mmqadapter.utils.atomic import atomic_write

# Name of each package, and the extra that installs it.
PACKAGES = {
    'mmdet': ('mmdetection', 'det'),
    'mmseg': ('mmsegmentation', 'seg'),
    'mmpretrain': ('mmpretrain', 'cls'),
}


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
    choices.check_numbers()
    model, method = describe_model(choices.model), method_of(choices.method, choices.bits)
    _check_backbone(model, method, choices.checkpoint)
    data = _with_classes(_checked(read_folder(root, choices.format)), choices.classes)
    if isinstance(data, LabelMapData) and choices.batch == 1:
        raise ValueError('batch=1 is invalid: expected 2 or more, as the head has batch norm.')
    _check_packages(data, model)
    converted = root.with_name(f'{root.name}_mmqadapter')
    parts = _parts(data, converted, choices.seed)
    proposal = _proposal(data, parts, model, choices)
    text = config_text(path, data, parts, model, proposal, choices)
    atomic_write(path, text.encode())
    written = converted if converted.exists() else None
    notes = [*data.notes, *unread_images(root)]
    return NewConfig(path, found_text(data, parts), parts.split, notes, written, proposal)


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
