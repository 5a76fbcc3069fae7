"""Slots of parallel trainings on one machine."""

from __future__ import annotations

import os
import time

import pytest
import torch
from sweeps import Silent

from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.local import LocalQueue
from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.resources import ResourceSlot, machine_slots
from mmqadapter.studies.sweep.training import SEED, Training


@pytest.fixture
def machine(monkeypatch):
    """``machine(gpus, visible)``: pretend to be a machine of eight cores."""

    def make(gpus: int, visible: str | None = None) -> None:
        monkeypatch.setattr(os, 'cpu_count', lambda: 8)
        monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
        if visible is not None:
            monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)

    return make


@pytest.mark.parametrize(
    ('gpus', 'visible', 'jobs', 'processes', 'expected'),
    [
        (0, None, 2, 1, [None, None]),
        (4, None, 4, 1, ['0', '1', '2', '3']),
        (4, None, 2, 2, ['0,1', '2,3']),
        (2, None, 3, 1, ['0', '1', '0']),
        (2, '5,GPU-a', 2, 1, ['5', 'GPU-a']),
        (1, None, 2, 2, [None, None]),  # too few for a training: torch reports it
        (3, None, 1, 1, ['0']),
        (0, '', 1, 1, [None]),
    ],
)
def test_gpus_are_divided_into_slots(machine, gpus, visible, jobs, processes, expected) -> None:
    machine(gpus, visible)
    slots = machine_slots(jobs, processes)
    assert slots == [ResourceSlot(8 // jobs, slot_gpus) for slot_gpus in expected]


@pytest.mark.parametrize(('jobs', 'threads'), [(1, 3), (2, 1), (4, 1)])
def test_trainings_share_the_threads_that_a_user_allows(
    machine, monkeypatch: pytest.MonkeyPatch, jobs: int, threads: int
) -> None:
    machine(0)
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    assert machine_slots(jobs) == [ResourceSlot(threads)] * jobs


def test_environment_variables_of_a_process() -> None:
    assert ResourceSlot(6).variables(4) == {'OMP_NUM_THREADS': '1'}
    variables = ResourceSlot(6, '2,3').variables(2)
    assert variables == {'OMP_NUM_THREADS': '3', 'CUDA_VISIBLE_DEVICES': '2,3'}


def test_a_slot_runs_one_training_at_a_time() -> None:
    busy: set[str | None] = set()

    def train(training: Training, slot: ResourceSlot) -> Outcome:
        assert slot.gpus not in busy
        busy.add(slot.gpus)
        time.sleep(0.01)
        busy.remove(slot.gpus)
        return Outcome(training, {'gpus': slot.gpus})

    queue = LocalQueue(train, [ResourceSlot(1, '0'), ResourceSlot(1, '1')], Silent())
    trainings = [Training(SEED, 'full', seed, Length(1), 0.1, 0.1) for seed in range(12)]
    used = [outcome.result['gpus'] for outcome in queue('seeds', trainings) if outcome.result]
    assert len(used) == 12 and set(used) == {'0', '1'}
