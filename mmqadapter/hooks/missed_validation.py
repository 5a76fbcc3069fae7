"""Whether a run resumes where a validation has to come before the next step."""

from __future__ import annotations

from mmengine.runner import IterBasedTrainLoop, Runner


def validation_is_due(runner: Runner) -> bool:
    """Whether the loop would have validated at its present position, had it come there by itself.

    mmengine saves a checkpoint before the validation of the same step, and resumes behind it.
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
