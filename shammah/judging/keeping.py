"""Which lessons every later adapter is asked about too, once one that was accepted answers them rightly. Pure.

They are those that the user had to correct: what was good by itself costs nobody anything when it is said otherwise.
Asked is later on which of the two replies is likelier, and not what is said by itself: that differs from run to run.
"""

from collections.abc import Iterable, Sequence

from shammah.judging.figures import Figures
from shammah.judging.graduation import says
from shammah.judging.questions import Taught
from shammah.records import Example


def worth_keeping(examples: Sequence[Example], taught: Iterable[Taught], candidate: Figures) -> list[Example]:
    """Those of the examples that the candidate answers rightly, and likes better than the rejected reply in other words
    too. A rewrite that was made for one run alone is none: the next makes another."""
    targets = {lesson.id: lesson.target for lesson in taught}
    corrected = [example for example in examples if example.level != "good" and example.rejected]
    return [example for example in corrected if _is_right(example, targets.get(example.id), candidate)]


def _is_right(example: Example, target: str | None, candidate: Figures) -> bool:
    said = candidate.answers.get(example.id)
    if said is None or target is None or target != example.target:
        return False
    return says(said.text, target) and candidate.margins.get(example.id, 0.0) > 0
