"""Choose the one source of pretrained weights that a backbone's config and its parent name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS

# Arguments by which nets take weights; `checkpoint` is TimmBackbone's.
WEIGHT_ARGUMENTS = ('init_cfg', 'checkpoint', 'pretrained')


def with_weights(backbone: Mapping[str, Any], pretrained: Any, init_cfg: Any) -> dict[str, Any]:
    """Return the config of a net with the weights that its wrapper was given.

    Parent models write them into the config of what they take for the net: mmseg's
    ``EncoderDecoder`` writes ``pretrained``, its ``MultimodalEncoderDecoder`` ``init_cfg``. A file
    goes into ``init_cfg`` where the net has that argument: mmdet's Swin ignores ``pretrained``.

    Args:
        backbone: Config of the net.
        pretrained: Weight file, or a value that the net itself has to understand; falsy for none.
        init_cfg: Config of an initialization; falsy for none.

    Raises:
        ValueError: Two different sources, or a net that takes neither argument.
    """
    candidates = {f'backbone.{name}': backbone.get(name) for name in WEIGHT_ARGUMENTS}
    candidates.update(init_cfg=init_cfg, pretrained=pretrained)
    sources = {name: _as_init_cfg(value) for name, value in candidates.items() if _is_given(value)}
    for first, name in zip(sources, list(sources)[1:], strict=False):
        if sources[name] != sources[first]:
            raise ValueError(
                f'{name}={candidates[name]!r} is invalid: {first}={candidates[first]!r} names '
                'other weights; leave one of them out.'
            )
    # The net's own init_cfg and checkpoint stay where they are.
    movable = [name for name in sources if name.endswith('pretrained') or name == 'init_cfg']
    return _with_source(backbone, sources[movable[0]]) if movable else dict(backbone)


def weight_file(checkpoint: Any, pretrained: Any, init_cfg: Any) -> str | None:
    """Return the weight file that three arguments of a net name; None without, or for True.

    Raises:
        ValueError: They name two sources, or ``init_cfg`` is anything but a file.
    """
    arguments = (checkpoint, pretrained, init_cfg)
    sources = [_as_init_cfg(value) for value in arguments if _is_given(value)]
    if not sources or sources == [True]:
        return None
    file = sources[0].get('checkpoint') if isinstance(sources[0], Mapping) else None
    if file is None or any(source != _as_init_cfg(file) for source in sources):
        raise ValueError(
            f'{checkpoint=}, {pretrained=}, {init_cfg=} is invalid: expected one source of '
            'weights, such as checkpoint=<file> or pretrained=True.'
        )
    return file


def _is_given(value: Any) -> bool:
    return bool(value) or value == ''  # no file has an empty name: loading reports it


def _as_init_cfg(value: Any) -> Any:
    """Return a weight file as the ``init_cfg`` that loads it, any other value as it is."""
    if isinstance(value, (str, PathLike)):
        return {'type': 'Pretrained', 'checkpoint': fspath(value)}
    return value


def _with_source(backbone: Mapping[str, Any], source: Any) -> dict[str, Any]:
    values = {'init_cfg' if isinstance(source, (Mapping, list)) else 'pretrained': source}
    file = source.get('checkpoint') if isinstance(source, Mapping) else None
    if source == _as_init_cfg(file):
        values['pretrained'] = file
    for name, value in values.items():
        if _accepts(backbone, name):
            config = {k: v for k, v in backbone.items() if k not in ('init_cfg', 'pretrained')}
            return {**config, name: value}
    raise ValueError(
        f'{next(iter(values))}={source!r} is invalid: {backbone.get("type")} takes no weights; '
        'set load_from=<checkpoint> instead.'
    )


def _accepts(backbone: Mapping[str, Any], argument: str) -> bool:
    kind = backbone.get('type')
    if isinstance(kind, str):
        with ROOT_MODELS.switch_scope_and_registry(backbone.get('_scope_')) as registry:
            kind = registry.get(kind)
    if kind is None:
        return True  # building reports the unknown type
    parameters = inspect.signature(kind).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
