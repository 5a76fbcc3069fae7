"""Checks for class names that are likely mistakes: misspelled ones, and those of few objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import combinations

from mmqadapter.data_checks.problem import WARNING, Problem, Scan

FEW = 5  # instances or images
NEAR = 0.85  # of at most 1, as difflib compares
MOST_NAMES = 300  # the time grows with the square of their number
WORD, DIGIT = re.compile(r'[^\W_]+'), re.compile(r'\d')


def lone_classes(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report classes with few objects, all of them in train, so that no score tells of them."""
    train = [scan for scan in scans if scan.is_train]
    others = [scan for scan in scans if not scan.is_train and scan.images]
    if not train or not others or train[0].unit == 'pixels':
        return
    for name in train[0].classes:
        count = sum(scan.counts.get(name, 0) for scan in train)
        if 0 < count <= FEW and not any(scan.counts.get(name) for scan in others):
            message = f'has {count} {train[0].unit if count > 1 else train[0].unit[:-1]}, in train '
            message += 'only, so it is hardly learned and not scored; check the name, or add some'
            yield Problem(WARNING, 'rare class', name, message)


def near_names(scans: Sequence[Scan]) -> Iterator[Problem]:
    """Report pairs of class names that may be one name, misspelled or in another case."""
    names = next((scan.classes for scan in scans if scan.classes), ())
    for first, second in combinations(names, 2) if len(names) <= MOST_NAMES else ():
        if _are_near(first, second):
            counts = [sum(scan.counts.get(name, 0) for scan in scans) for name in (first, second)]
            message = f'is nearly the name of the class {second!r} ({counts[0]:,} and '
            message += f'{counts[1]:,} {scans[0].unit}); if they are one, correct the annotations'
            yield Problem(WARNING, 'similar names', first, message)


def _are_near(first: str, second: str) -> bool:
    """Return whether two names differ in case, separators, or one word that may be misspelled."""
    words, others = (WORD.findall(name.casefold()) for name in (first, second))
    if ''.join(words) == ''.join(others):
        return True
    if len(words) != len(others):
        return False
    pairs = [pair for pair in zip(words, others, strict=True) if pair[0] != pair[1]]
    # Numbers differ on purpose.
    return len(pairs) == 1 and not DIGIT.search(' '.join(pairs[0])) and _are_similar(*pairs[0])


def _are_similar(word: str, other: str) -> bool:
    matcher = SequenceMatcher(None, word, other)
    return matcher.real_quick_ratio() >= NEAR and matcher.ratio() >= NEAR
