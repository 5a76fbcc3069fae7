"""Check whether a resumed run has to validate before its next step."""

from __future__ import annotations

from mmengine.runner import IterBasedTrainLoop, Runner


def validation_is_due(runner: Runner) -> bool:
    """Return whether an uninterrupted run would have validated at this position of the train loop.

    mmengine saves a checkpoint before the validation that follows the same step, and a run resumes
    after that validation, so a kill in between would lose it.
    """
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    if isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    else:
        done, end = loop.epoch, loop.max_epochs
        if loop.iter != done * len(loop.dataloader):
            return False  # within an epoch
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
