"""The tasks that a page offers: their weights in a bank, their classes, and what they weigh."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config

from mmqadapter.checkpoints.load import dataset_meta
from mmqadapter.inference.bank import TaskBank
from mmqadapter.inference.model import build_without_task, name_classes
from mmqadapter.inference.overlays import OverlayPainter
from mmqadapter.inference.several import task_names
from mmqadapter.utils.text import one_line


@dataclass(frozen=True)
class ServedTask:
    """A task that a page offers.

    Attributes:
        file: Its task file.
        nbytes: Bytes of the file.
        meta: ``classes`` and ``palette``.
        painter: Painter of its predictions.
    """

    file: Path
    nbytes: int
    meta: dict[str, Any]
    painter: OverlayPainter


@dataclass
class ServedTasks:
    """Tasks in a bank on one trunk, and those that do not fit it.

    Attributes:
        bank: The bank.
        accepted: The tasks by name, in the order of the command line.
        refused: Why a file was refused, by name.
    """

    bank: TaskBank
    accepted: dict[str, ServedTask] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, file: Path) -> None:
        """Load a task file into the bank.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is damaged, or does not fit the model.
        """
        model = cast(Any, self.bank.model)
        metadata = self.bank.register(name, file)
        name_classes(model, dataset_meta(metadata['dataset']), file)
        meta = model.dataset_meta
        painter = OverlayPainter(meta, names_in_maps=False)  # the page has a legend
        self.accepted[name] = ServedTask(file, file.stat().st_size, meta, painter)


def load_tasks(
    config: Config | str | os.PathLike,
    files: Sequence[str | os.PathLike],
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> ServedTasks:
    """Load task files on one trunk; those that do not fit are left out, with the reason.

    Args:
        config: The config that the tasks were trained with.
        files: The task files.
        device: See :func:`mmqadapter.inference.load_model`.
        cfg_options: See :func:`mmqadapter.inference.load_model`.

    Raises:
        FileNotFoundError: The config does not exist.
        ValueError: The config is invalid, ``files`` has a checkpoint or one name twice (see
            :func:`mmqadapter.inference.several.task_names`), or no file fits.
    """
    names = task_names(files)
    tasks = ServedTasks(TaskBank(build_without_task(config, device, cfg_options)))
    for name, file in names.items():
        try:
            tasks.add(name, Path(file))
        except (OSError, ValueError) as error:
            # Without the folder, which is nothing for the users of a page.
            tasks.refused[name] = one_line(error, 1000).replace(str(file), Path(file).name)
    if not tasks.accepted:
        reasons = '; '.join(tasks.refused.values())
        raise ValueError(f'none of the task files can be used: {reasons}')
    return tasks
