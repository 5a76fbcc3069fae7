from __future__ import annotations

import pytest

from mmqadapter.compat.torch_names import OutOfMemoryError
from mmqadapter.studies.benchmark.memory import is_out_of_memory


@pytest.mark.parametrize(
    'error',
    [
        OutOfMemoryError('CUDA out of memory'),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED'),
        RuntimeError('CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED'),
        RuntimeError('GET was unable to find an engine to execute this computation'),
        RuntimeError('Unable to find a valid cuDNN algorithm to run convolution'),
    ],
    ids=str,
)
def test_messages_of_libraries(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError('mat1 and mat2 shapes cannot be multiplied'))
