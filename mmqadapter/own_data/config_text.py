"""Text of a new config: what was found, filled into a template."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmqadapter.own_data.choices import Choices
from mmqadapter.own_data.methods import class_rates, method_of, rates
from mmqadapter.own_data.models import MODELS, Model
from mmqadapter.own_data.parts import Parts
from mmqadapter.own_data.proposal import Proposal
from mmqadapter.own_data.samples import FoundData, ImageClassData, InstanceData, LabelMapData
from mmqadapter.own_data.tasks import TASKS, task_of
from mmqadapter.utils.text import printable

BASE_STRIDE = 4  # of the finest map of the pyramid
LINE = 100  # characters


def config_text(
    path: Path, data: FoundData, parts: Parts, model: Model, proposal: Proposal, choices: Choices
) -> str:
    """Return the text of a config that trains on the data.

    Args:
        path: Where the config will be written.
        data: Data that were found.
        parts: Their training and validation parts.
        model: Backbone.
        proposal: Size, batch and length.
        choices: Choices of the user.
    """
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


def found_text(data: FoundData, parts: Parts) -> str:
    """Return a sentence on the data that were found."""
    count = f'{len(parts.sizes)} train and {parts.val_count} val images'
    classes = f'{len(data.classes)} class{"es" if len(data.classes) != 1 else ""}'
    return f'{data.format} with {count}, {classes}: {_listed(data.classes)}.'


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


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
        'found': _plain(found_text(data, parts)),
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
