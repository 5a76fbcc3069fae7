from __future__ import annotations

import json

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from mmqadapter.studies.planner.container import CODES, container_bytes

TENSORS = st.dictionaries(
    st.text('abc:._09', min_size=1, max_size=9),
    st.tuples(st.sampled_from(list(CODES)), st.lists(st.integers(1, 40), max_size=2)),
    max_size=8,
)


@settings(max_examples=40)
@given(TENSORS, st.text(max_size=30))
def test_the_length_is_that_of_a_real_file(tensors: dict, note: str) -> None:
    text = json.dumps({'note': note})
    real = {
        name: torch.zeros(shape, dtype=getattr(torch, dtype.removeprefix('torch.')))
        for name, (dtype, shape) in tensors.items()
    }
    assert container_bytes(tensors, 'key', text) == len(save(real, {'key': text}))
