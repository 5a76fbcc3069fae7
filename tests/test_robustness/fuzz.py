"""Coverage-guided fuzzing of all readers of untrusted files.

    .venv/bin/python tests/test_robustness/fuzz.py            # 35,000 inputs for each target
    .venv/bin/python tests/test_robustness/fuzz.py task 1000  # one target

Needs atheris. Inputs are modified valid files, half of them byte by byte and half in their
structure, with the checksum of a task file recomputed. An input is printed if it raises another
error than the documented ones, runs code, takes 10 seconds of CPU time or allocates 2 GB more.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import atheris
import mmseg.models  # noqa: F401  (modules that are not instrumented are loaded first)
import timm  # noqa: F401
import yaml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
RUNS = 35_000
REPORT_INTERVAL = 5_000  # inputs between two lines with the outcomes
READERS = ('mmqadapter.taskfile', 'mmqadapter.interop.petl_vit', 'mmqadapter.interop.peft')
with atheris.instrument_imports(include=[*READERS], enable_loader_override=False):
    import hostile
    import test_hostile_files as properties

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2, 3, 2**31, 2**62, 2**63 - 1, 2**64, 10**400, 1e308, 0.5),
    *(float('nan'), float('inf'), '', 'x', 'codes', 'float32', 'load', '\ud800', '\x1b[2J'),
    *([], [[]], [1, 2], [4, 0, 5], [16, 2**62, 4], {}, {'a': {}}, {'type': 'LoRA'}),
)


def change_tree(tree: Any, chance: random.Random) -> Any:
    """Replace, remove or add a value anywhere in plain data."""
    if not isinstance(tree, (dict, list)) or not tree or chance.random() < 0.1:
        return chance.choice(ODD)
    keys = sorted(tree) if isinstance(tree, dict) else range(len(tree))
    key, action = chance.choice(keys), chance.random()
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    if action < 0.7:
        changed[key] = change_tree(tree[key], chance)
    elif action < 0.85:
        del changed[key]
    elif isinstance(changed, dict):
        changed[str(chance.choice(ODD))] = chance.choice(ODD)
    else:
        changed.append(chance.choice(ODD))
    return changed


def change_container(data: bytes, chance: random.Random) -> bytes:
    """Change the metadata or descriptions of tensors, and recompute the digest."""
    container = hostile.Container(data)
    own = container.header.get('__metadata__', {}).get(hostile.KEY)
    if own is not None and chance.random() < 0.7:
        tree = change_tree(json.loads(own), chance)
        container.header['__metadata__'][hostile.KEY] = hostile._text(tree)
    elif chance.random() < 0.3:
        names = [name for name in container.header if name != '__metadata__']
        entry = container.header[chance.choice(names)]
        entry['shape'] = [*entry['shape'], *chance.choices([0, 1, 2**32, 2**62, 2**63], k=2)]
        entry['dtype'] = chance.choice(hostile.DTYPES)
    else:
        container.header = change_tree(container.header, chance)
    hostile.sign(container)
    return container.data()


def change_json(data: bytes, chance: random.Random) -> bytes:
    return json.dumps(change_tree(json.loads(data), chance)).encode()


def change_yaml(data: bytes, chance: random.Random) -> bytes:
    if b'*' in data:  # loading the aliases, which the reader refuses, would take forever
        return unchanged(data, chance)
    return yaml.safe_dump(change_tree(yaml.safe_load(data), chance)).encode()


def joined(*parts: bytes) -> bytes:
    return struct.pack('<I', len(parts[0])) + b''.join(parts)


def parted(data: bytes) -> tuple[bytes, bytes]:
    """Split an input into its two files: the inverse of :func:`joined`."""
    length = int.from_bytes(data[:4], 'little')
    return data[4 : 4 + length], data[4 + length :]


def change_both(first: Callable, second: Callable) -> Callable:
    def change(data: bytes, chance: random.Random) -> bytes:
        one, other = parted(data)
        if chance.random() < 0.5:
            return joined(first(one, chance), other)
        return joined(one, second(other, chance))

    return change


def unchanged(data: bytes, chance: random.Random) -> bytes:
    """Leave the mutation to libFuzzer, because the data have no structure."""
    return bytes(atheris.Mutate(data, len(data)))


def read_peft(data: bytes) -> None:
    properties.read_peft_folder(*parted(data))


def read_petl(data: bytes) -> None:
    text, binary = parted(data)
    properties.read_petl_files(binary, text)


def petl_seeds() -> list[bytes]:
    found = []
    for method in hostile.METHODS:
        for bit in (1, 2, 4):
            settings = {**hostile.PETL, 'method': method, 'bit': bit}
            text = yaml.safe_dump(settings).encode()
            found.append(joined(text, hostile.petl_bytes(settings)))
    return [*found, joined(hostile.BOMB, b'')]


TARGETS: dict[str, tuple[Callable, Callable, Callable]] = {
    'task': (properties.read_task_file, change_container, hostile.valid_tasks),
    'peft': (
        read_peft,
        change_both(change_json, change_container),
        lambda: [joined(*hostile.valid_peft())],
    ),
    'petl': (read_petl, change_both(change_yaml, unchanged), petl_seeds),
}


def counted(read: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Print the outcomes at intervals, because libFuzzer exits without a summary."""
    calls = count(1)

    def read_and_report(data: bytes) -> None:
        read(data)
        if next(calls) % REPORT_INTERVAL == 0:
            print('OUTCOMES', dict(properties.outcomes.most_common()), flush=True)

    return read_and_report


def fuzz(target: str, runs: int) -> None:
    """Fuzz one target and exit the process."""
    read, change, seeds = TARGETS[target]
    corpus, valid = Path(mkdtemp()), seeds()
    for number, seed in enumerate(valid):
        (corpus / str(number)).write_bytes(seed)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return atheris.Mutate(data, max_size)
        try:
            return change(data, chance)[:max_size]
        except Exception:  # too damaged to be parsed: start from a valid file
            return change(chance.choice(valid), chance)[:max_size]

    with open('/proc/self/statm') as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2**30, resource.RLIM_INFINITY))
    options = [f'-runs={runs}', '-timeout=600', '-max_len=30000', '-seed=1', '-print_final_stats=1']
    options += [f'-artifact_prefix={mkdtemp()}/']  # for inputs that violate a property
    atheris.Setup([sys.argv[0], *options, str(corpus)], counted(read), custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == '__main__':
    if len(sys.argv) > 1:
        fuzz(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else RUNS)
    for name in TARGETS:
        subprocess.run([sys.executable, __file__, name], check=True)
