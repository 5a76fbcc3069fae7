"""Files that an attacker could have written: valid ones with a few changes.

The checksum of a task file is recomputed, as an attacker would do, to reach the later checks.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hypothesis import strategies as st
from quantized_models import make
from safetensors.torch import load_file
from torch import nn

from mmqadapter import save_task
from mmqadapter.interop.peft import PeftLora, PeftSettings, Product, write_peft
from mmqadapter.interop.petl_vit.settings import METHODS, NETS, Net, PetlSettings
from mmqadapter.taskfile.format import KEY

Draw = Callable[[st.SearchStrategy], Any]
CHANNELS, BLOCKS = 16, 2
TIMM = dict(
    model_name='vit_tiny_patch16_224', img_size=32, embed_dim=CHANNELS, depth=BLOCKS, num_heads=2
)
TINY_NET = Net(CHANNELS, BLOCKS, TIMM)

NUMBERS = (
    st.integers(-3, 40)
    | st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, 10**400])
    | st.integers()
)
WORDS = st.text(max_size=8) | st.sampled_from(
    [
        'LoRA',
        'AdaptFormer',
        'float32',
        'uint8',
        'load',
        'codes',
        'head:codes',
        '__class__',
        '\ud800',
    ]
)
LEAVES = st.none() | st.booleans() | NUMBERS | st.floats() | WORDS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=6,
)


def change_tree(draw: Draw, tree: Any) -> Any:
    """Replace, remove or add a value anywhere in plain data."""
    if not isinstance(tree, (dict, list)) or not tree or draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    keys = sorted(tree) if isinstance(tree, dict) else range(len(tree))
    key = draw(st.sampled_from(list(keys)))
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    action = draw(st.sampled_from(['inside', 'inside', 'inside', 'drop', 'add']))
    if action == 'inside':
        changed[key] = change_tree(draw, tree[key])
    elif action == 'drop':
        del changed[key]
    elif isinstance(changed, dict):
        changed[draw(WORDS)] = draw(VALUES)
    else:
        changed.append(draw(VALUES))
    return changed


def change_bytes(draw: Draw, data: bytes) -> bytes:
    """Truncate, overwrite or insert bytes anywhere, or leave them unchanged."""
    place = draw(st.integers(0, len(data)))
    new = draw(st.binary(max_size=12))
    return {
        'none': data,
        'cut': data[:place],
        'over': data[:place] + new + data[place + len(new) :],
        'insert': data[:place] + new + data[place:],
        'length': struct.pack('<Q', draw(NUMBERS) % 2**64) + data[8:],
        'alone': new,
    }[draw(st.sampled_from(['none', 'none', 'none', 'cut', 'over', 'insert', 'length', 'alone']))]


class Container:
    """Header and body of a safetensors file, valid or not."""

    def __init__(self, data: bytes) -> None:
        (length,) = struct.unpack('<Q', data[:8])
        self.header: Any = json.loads(data[8 : 8 + length])
        self.body = data[8 + length :]

    def change(self, draw: Draw) -> None:
        """Change the descriptions of tensors, or their bytes."""
        names = sorted(name for name in self.header if name != '__metadata__')
        action = draw(st.sampled_from(['none', 'shape', 'entry', 'header', 'body', 'nan']))
        if action == 'header':
            self.header = change_tree(draw, self.header)
        elif action == 'entry':
            name = draw(st.sampled_from(names))
            self.header[name] = change_tree(draw, self.header[name])
        elif action == 'shape':  # the body stays as it is
            entry = self.header[draw(st.sampled_from(names))]
            entry['shape'] = [*entry['shape'], *draw(st.lists(st.just(1) | NUMBERS, max_size=3))]
            entry['dtype'] = draw(st.sampled_from([entry['dtype'], *DTYPES]))
        elif action == 'body':
            self.body = change_bytes(draw, self.body)
        elif action == 'nan':
            self.body = self.body[: len(self.body) % 4] + b'\0\0\xc0\x7f' * (len(self.body) // 4)

    def data(self) -> bytes:
        """Return the bytes of the file."""
        header = json.dumps(self.header).encode()
        return struct.pack('<Q', len(header)) + header + self.body


DTYPES = (
    'BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F4 F6_E2M3 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64 C64 X'
).split()


@cache
def model() -> nn.Module:
    """Build an adapted backbone with neck and head."""
    return make(lambda: dict(type='mmqadapter.TimmBackbone', **TIMM)).eval()


@cache
def valid_tasks() -> tuple[bytes, ...]:
    """Return task files of the model: with a float head, and with a quantized one."""
    with TemporaryDirectory() as folder:
        path = Path(folder, 'a.task.safetensors')
        files = []
        for bits in (32, 4):
            meta = dict(classes=['a', 'b'], palette=[[1, 2, 3], [4, 5, 6]])
            save_task(model(), path, meta, head_bits=bits)
            files.append(path.read_bytes())
    return tuple(files)


def sign(container: Container) -> None:
    """Recompute the digest of a task file, if it can still be parsed."""
    try:
        metadata = json.loads(container.header['__metadata__'][KEY])
        metadata.pop('sha256', None)
        tensors = _tensors(container)
        metadata['sha256'] = _digest(metadata, tensors)
        container.header['__metadata__'][KEY] = _text(metadata)
    except Exception:  # too damaged to have a digest
        return


def _tensors(container: Container) -> dict[str, torch.Tensor]:
    with TemporaryDirectory() as folder:
        path = Path(folder, 'a')
        path.write_bytes(container.data())
        return load_file(path)


def _text(metadata: Any) -> str:
    return json.dumps(metadata, sort_keys=True, separators=(',', ':'))


def _digest(metadata: Any, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(_text(metadata).encode())
    for name in sorted(tensors):
        t = tensors[name]
        digest.update(f'\n{name} {t.dtype} {tuple(t.shape)}\n'.encode())
        digest.update(t.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@st.composite
def task_files(draw: Draw) -> bytes:
    """Generate a task file with changed metadata, tensors or bytes."""
    container = Container(draw(st.sampled_from(valid_tasks())))
    for _ in range(draw(st.integers(0, 2))):
        text = container.header['__metadata__'][KEY]
        tree = change_tree(draw, json.loads(text))
        container.header['__metadata__'][KEY] = draw(
            st.just(_text(tree)) | st.sampled_from(['[' * 5000, '{"version":1' + '0' * 5000 + '}'])
        )
        try:
            json.loads(container.header['__metadata__'][KEY])
        except (ValueError, RecursionError):
            break
    container.change(draw)
    if draw(st.integers(0, 7)):
        sign(container)
    return change_bytes(draw, container.data())


@cache
def valid_peft() -> tuple[bytes, bytes]:
    """Return config and weights of a LoRA folder for the tiny net."""
    shapes = ((2, CHANNELS), (3 * CHANNELS, 2))
    products = {
        f'blocks.{i}.attn.qkv': Product(*(torch.ones(shape) for shape in shapes))
        for i in range(BLOCKS)
    }
    with TemporaryDirectory() as folder:
        write_peft(PeftLora(PeftSettings(2, 3.0), products), folder)
        names = ('adapter_config.json', 'adapter_model.safetensors')
        config, weights = (Path(folder, name).read_bytes() for name in names)
    return config, weights


@st.composite
def peft_folders(draw: Draw) -> tuple[bytes, bytes]:
    """Generate changed config and weights of a LoRA folder."""
    config, weights = valid_peft()
    tree, container = json.loads(config), Container(weights)
    for _ in range(draw(st.integers(0, 2))):
        tree = change_tree(draw, tree)
    container.change(draw)
    text = json.dumps(tree).encode()
    if draw(st.integers(0, 9)) == 0:
        text = draw(st.sampled_from([b'[' * 5000, b'1' + b'0' * 5000, b'\xff\xfe{']))
    return change_bytes(draw, text), change_bytes(draw, container.data())


PETL = dict(
    backbone='tiny', bit=1, dataset='toy', dim=4, method='adaptformer', num_class=5, scale=10.0
)
BOMB = b'a: &a {x: 1}\n' + b''.join(
    b'%c: &%c {<<: [%s]}\n' % (c, c, b','.join([b'*%c' % (c - 1)] * 9)) for c in b'bcdefghijklmnop'
)


@st.composite
def petl_files(draw: Draw) -> tuple[bytes, bytes]:
    """Generate changed weights and settings of a released task."""
    import yaml

    settings: Any = PETL | draw(
        st.fixed_dictionaries(
            {
                'method': st.sampled_from(METHODS),
                'bit': st.sampled_from([1, 2, 4]),
            }
        )
    )
    data = petl_bytes(settings)
    for _ in range(draw(st.integers(0, 2))):
        settings = change_tree(draw, settings)
    try:
        text = yaml.safe_dump(settings).encode('utf-8', 'surrogatepass')
    except yaml.YAMLError:
        text = repr(settings).encode('utf-8', 'surrogatepass')
    if draw(st.integers(0, 9)) == 0:
        text = draw(st.sampled_from([BOMB, b'[' * 1000, b'!!python/object/apply:os.system [id]']))
    if len(data) < 10**6 and draw(st.booleans()):
        place = draw(st.integers(0, max(0, len(data) - 4)))
        new = draw(st.binary(min_size=4, max_size=4) | st.sampled_from([b'\0\0\xc0\x7f', bytes(4)]))
        data = data[:place] + new + data[place + 4 :]
    return change_bytes(draw, data), change_bytes(draw, text)


def petl_bytes(settings: dict[str, Any]) -> bytes:
    """Return a .bin file of the right length."""
    from mmqadapter.interop.petl_vit.layout import adapter_bytes, file_bytes, matrix_bytes

    NETS['tiny'] = TINY_NET
    known = PetlSettings(**settings)
    matrix = (b'\x35' * matrix_bytes(known)) + struct.pack('<2f', 0.1, 0.2)
    head = file_bytes(known) - adapter_bytes(known)
    body = matrix * (adapter_bytes(known) // len(matrix))
    if known.binary_head:
        return body + b'\x35' * (head - 8) + struct.pack('<2f', 0.1, 0.2)
    return body + struct.pack('<f', 0.5) * (head // 4)
