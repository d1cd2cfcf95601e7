"""What each example teaches: its own target, or the best of a few rewrites where nobody has looked at one."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from shammah.config import GenerationSettings
from shammah.feedback.rewriting import Rewriter, best, rewrites
from shammah.records import Example
from shammah.training.planning import Lesson

# A rewrite that nobody waits for may take long, but not for ever.
_MOST_TOKENS = 200

Rewrite = Callable[[Example], str | None]


def lessons(examples: Sequence[Example], rewrite: Rewrite, *, unreviewed: float) -> tuple[list[Lesson], list[str]]:
    """The lessons, and the ids of examples for which no rewrite passed the checks: they wait for the user.

    A target that nobody has seen counts only the share `unreviewed` of the weight.
    """
    made: list[Lesson] = []
    without: list[str] = []
    for example in examples:
        if example.state == "ready":
            made.append(Lesson.of(example))
            continue
        target = rewrite(example) if unreviewed else None
        if target is None:
            without.append(example.id)
        else:
            made.append(Lesson.of(replace(example, target=target, weight=example.weight * unreviewed)))
    return made, without


def rewrite_by(model: Rewriter, settings: GenerationSettings) -> Rewrite:
    """The best of a few rewrites of the rejected reply by its note, if any passes the checks."""
    how = replace(settings, max_tokens=min(settings.max_tokens, _MOST_TOKENS))

    def rewrite(example: Example) -> str | None:
        assert example.rejected and example.note, "only such an example is drawn without a target"
        found = best(rewrites(model, example.messages, example.rejected, example.note, how))
        return found.text if found else None

    return rewrite
