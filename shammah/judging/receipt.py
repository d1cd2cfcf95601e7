"""What a run came to, as the object that is stored, shown in the chat and printed as JSON. Pure.

It holds facts alone, nothing that was cut to fit a line: the words for them are made where they are shown. Wherever it
holds a text of an example it holds the example's id too, so that it is found when the example is forgotten.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from shammah.judging.figures import Figures
from shammah.judging.graduation import says
from shammah.judging.questions import Question, Questions, probe_of
from shammah.judging.verdict import Verdict
from shammah.records import Example, Rule, Run

# A curve of so many points is as smooth as anybody can see.
_POINTS = 240
_DIGITS = 5
_VOICES = ("base", "before", "after")

Three = Mapping[str, Figures]


def body(
    run: Run,
    learned: Sequence[Example],
    questions: Questions,
    *,
    losses: Sequence[float],
    base: Figures,
    active: Figures,
    candidate: Figures,
    verdict: Verdict,
    deployed: bool,
    version: int | None,
    before: str | None,
    new_ids: Collection[str],
    graduated: Sequence[Rule] = (),
) -> dict[str, Any]:
    """`run` with its adapter, as its record stands at the end. `learned` are the examples it was trained on, `new_ids`
    those of them that what answered until now had not learned. `before` is the adapter that did, None the base, whose
    figures are then `active` too. `deployed` says whether the candidate answers from now on."""
    three = {"base": base, "before": active, "after": candidate}
    examples = {example.id: example for example in learned}
    return {
        "run": {
            "id": run.id,
            "trigger": run.trigger,
            "attempt": run.attempt,
            "model": run.model,
            "started": run.started,
            "steps": run.step,
            "tokens": run.tokens,
            "seconds": round(run.seconds, 2),
        },
        "adapter": {"name": run.adapter, "version": version, "before": before},
        "deployed": deployed,
        "verdict": verdict.as_json(),
        "learned_from": {
            "examples": len(learned),
            "new": sum(example.id in new_ids for example in learned),
            "ratings": {level: sum(one.level == level for one in learned) for level in ("critical", "medium", "good")},
        },
        "loss": {"first": run.first_loss, "last": run.last_loss, "curve": curve(losses)},
        "lessons": [
            _lesson(question, examples.get(question.example), question.example in new_ids, three)
            for question in questions.as_asked
        ],
        "figures": {voice: _figures(three[voice]) for voice in _VOICES},
        "probes": {
            "gained": _probes(questions, active, candidate, (False, True)),
            "lost": _probes(questions, active, candidate, (True, False)),
            "failing": _probes(questions, active, candidate, (False, False), own=True),
        },
        "faults": [{"prompt": fault.prompt, "what": fault.what} for fault in candidate.faults],
        "leaks": [
            {"prompt": leak.prompt, "example": leak.example, "words": list(leak.words)} for leak in candidate.leaks
        ],
        "graduated": [{"rule": rule.id, "text": rule.text} for rule in graduated],
    }


def curve(losses: Sequence[float]) -> list[float]:
    """The losses, of many steps the means of a few at a time."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    groups = min(len(finite), _POINTS)
    bounds = [round(place * len(finite) / groups) for place in range(groups + 1)] if groups else []
    return [round(fmean(finite[a:b]), _DIGITS) for a, b in zip(bounds, bounds[1:], strict=False)]


def _lesson(asked: Question, example: Example | None, new: bool, three: Three) -> dict[str, Any]:
    """One example: what was said to its own prompt, as far as that was waited for, and how likely each voice finds what
    it should say."""
    said = {voice: three[voice].answers.get(asked.example) for voice in _VOICES}
    return {
        "example": asked.example,
        "level": example.level if example else None,
        "source": example.source if example else None,
        "note": example.note if example else None,
        "new": new,
        "prompt": asked.messages[-1].content,
        "wanted": asked.target,
        "rejected": asked.rejected,
        "said": {voice: None if answer is None else answer.text for voice, answer in said.items()},
        "cut_off": {voice: answer is not None and not answer.ended for voice, answer in said.items()},
        "right": {voice: None if answer is None else says(answer.text, asked.target) for voice, answer in said.items()},
        "chance": {voice: _chance(three[voice].nll.get(asked.example)) for voice in _VOICES},
    }


def _figures(figures: Figures) -> dict[str, Any]:
    """The numbers of one voice. `chance` is what it gives each token of a wanted reply, in other words than it was
    trained on."""
    return {
        "chance": _chance(fmean(figures.nll.values())) if figures.nll else None,
        "drift": figures.drift,
        "perplexity": figures.perplexity,
        "probes": len(figures.probes),
        "probes_passed": sum(figures.probes.values()),
        "faults": len(figures.faults),
        "leaks": len(figures.leaks),
        "speed": figures.speed,
        "seconds": round(figures.seconds, 2),
    }


def _probes(
    questions: Questions, before: Figures, after: Figures, passed: tuple[bool, bool], *, own: bool = False
) -> list[dict[str, Any]]:
    """What was passed so before and after: the user's own, and unless only these are wanted lessons and ours."""
    asked = [(one.id, one.prompt, list(one.contains)) for one in questions.required]
    if not own:
        asked += [(probe_of(one), one.messages[-1].content, [one.target]) for one in questions.kept]
        asked += [(one.id, one.prompt, [one.right]) for one in questions.core]
    return [
        {"id": id, "prompt": prompt, "contains": contains}
        for id, prompt, contains in asked
        if (before.probes.get(id), after.probes.get(id)) == passed
    ]


def _chance(nll: float | None) -> float | None:
    return None if nll is None or not math.isfinite(nll) else math.exp(-max(nll, 0.0))
