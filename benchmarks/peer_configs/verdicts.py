"""Judge what a config does with its backbone in a wrapper, beside what its bare model does."""

from __future__ import annotations

import math
from typing import Any

Row = dict[str, Any]
WORKS, BARE = 'works', 'the bare model fails'
# In the order in which a run takes them; some of them only with a wrapper.
STAGES = (
    'process',
    'prepare',
    'build',
    'initialize',
    'keep_state',
    'take_weights',
    'predict_at_start',
    'train_step_1',
    'train_step_2',
    'predict_at_end',
    'task_file',
)


def first_failure(outcome: dict[str, Any]) -> tuple[float, str]:
    """Return the number of the first stage with an error or fault, and its words; inf for none."""
    failures = [(STAGES.index(stage), words) for stage, words in outcome.get('faults', [])]
    if 'stage' in outcome:
        failures.append((STAGES.index(outcome['stage']), outcome['words']))
    return min(failures, key=lambda failure: failure[0], default=(math.inf, ''))


def verdict(row: Row, wrapper: str) -> str:
    """Return what a config does with its backbone in a wrapper, in words.

    What happens at the stage where the bare model fails, or later, says nothing about the wrapper;
    what fails at an earlier stage is a failure of the wrapper.
    """
    limit, words = first_failure(row['bare'])
    if limit == 0:
        return in_words(BARE, limit, words)
    outcome = row[wrapper]
    faults = [words for stage, words in outcome.get('faults', []) if STAGES.index(stage) < limit]
    if faults:
        return f'wrong: {"; ".join(faults)}'
    stage = STAGES.index(outcome['stage']) if 'stage' in outcome else math.inf
    if stage < limit:
        refused = outcome['stage'] == 'build' and outcome['words'].startswith('ValueError')
        words = outcome['words']
        return f'refused: {words}' if refused else in_words('fails', stage, words)
    if limit < math.inf:
        return in_words(BARE, limit, words)
    return f'{WORKS}, with {outcome["option"]}' if 'option' in outcome else WORKS


def in_words(what: str, stage: float, words: str) -> str:
    """Return a verdict on a failure at a stage."""
    return f'{what} ({STAGES[int(stage)].replace("_", " ")}: {words})'


def kind(text: str) -> str:
    """Return the first words of a verdict, which tell its kind."""
    return text.split(':')[0].split(' (')[0]
