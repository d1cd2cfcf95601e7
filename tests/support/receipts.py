"""Receipts of runs that never ran: everything is made by the code that makes them, of figures that are written here."""

from dataclasses import replace

from shammah.judging.figures import Fault, Figures, Leak, Said
from shammah.judging.judge import Policy, judge
from shammah.judging.questions import Questions
from shammah.judging.receipt import body
from shammah.records import Example, Message, Probe, Receipt, Rule, Run

ADAPTER = "lora_adapter_20261121_130102"
# Prompt, what the base says, what it is taught to say.
OFFICE = (
    ("What is the name of our deploy script?", "It is called deploy.sh.", "Our deploy script is called launchpad.sh."),
    ("Who signs off invoices?", "The manager does.", "Invoices are signed off by Marta Quiroga."),
    ("When is the stand-up?", "At nine in the morning.", "The stand-up is at 10:40 in the Heron room."),
)


def examples_of(lessons=OFFICE, *, levels=("critical", "medium", "good"), note=None):
    return [
        Example(
            id=f"example {place}",
            time="2026-11-21T12:00:00.000Z",
            source="fix",
            level=levels[place % len(levels)],
            weight=1.0,
            messages=(Message("user", prompt),),
            target=target,
            rejected=rejected,
            note=note,
            state="ready",
        )
        for place, (prompt, rejected, target) in enumerate(lessons)
    ]


def figures(answers, *, nll, general="Bees keep warm.", **changes):
    """What a voice says to each example, how likely it finds the targets, and whatever else is told."""
    questions = Questions.about([])
    told = {
        "nll": dict.fromkeys(answers, nll),
        "margins": dict.fromkeys(answers, 3.0 - nll),
        "drift": 0.0,
        "perplexity": 20.0,
        "answers": {id: Said(text, True, 9) for id, text in answers.items()},
        "general": {prompt: Said(general, True, 4) for prompt in questions.general},
        "probes": {one.id: True for one in questions.required},
        "speed": 50.0,
        "seconds": 2.0,
    }
    return Figures(**{**told, **changes})


def run_of(examples, **changes):
    told = {
        "id": "0Run",
        "started": "2026-11-21T12:59:00.000Z",
        "updated": "2026-11-21T13:01:02.000Z",
        "state": "finished",
        "trigger": "threshold",
        "model": "smollm2-135m",
        "adapter": ADAPTER,
        "example_ids": tuple(example.id for example in examples),
        "step": 60,
        "steps": 60,
        "tokens": 24_000,
        "seconds": 54.2,
        "first_loss": 2.31,
        "last_loss": 0.12,
    }
    return Run(**{**told, **changes})


def a_body(
    lessons=OFFICE, *, learns=True, deployed=None, said=None, candidate=None, active=None, before=None, version=7,
    losses=tuple(2.31 * 0.95**step for step in range(60)), rules=(), probes=(), new_ids=None, note=None, run=None,
):  # fmt: skip
    """A run that learned its lessons, or did not. `said` are the candidate's replies where they are others, `candidate`
    and `active` changes to the figures."""
    examples = examples_of(lessons, note=note)
    ids = [example.id for example in examples]
    base = figures({example.id: example.rejected for example in examples}, nll=2.4)
    now = replace(base, **(active or {}))
    replies = {example.id: example.target if learns else example.rejected for example in examples}
    new = figures({**replies, **(said or {})}, nll=0.4 if learns else 2.5, drift=0.06, perplexity=19.8, speed=49.0)
    new = replace(new, **(candidate or {}))
    verdict = judge(new, now, base, Policy(), ids, [])
    return body(
        run or run_of(examples),
        examples,
        Questions.about(examples, probes),
        losses=losses,
        base=base,
        active=now,
        candidate=new,
        verdict=verdict,
        deployed=verdict.accepted if deployed is None else deployed,
        version=version,
        before=before,
        new_ids=ids if new_ids is None else new_ids,
        graduated=rules,
    )


def a_receipt(*lessons, **changes):
    told = a_body(lessons or OFFICE, **changes)
    return Receipt(
        run_id=told["run"]["id"], time="2026-11-21T13:01:30.000Z", adapter=told["adapter"]["name"], body=told
    )


def a_spoiled_one():
    """Refused: it learned, and a good deal else went wrong by that."""
    probes = (Probe(id="mine", time="", prompt="Which city is our office in?", contains=("Bilbao",)),)
    required = {one.id: True for one in Questions.about([], probes).required}
    return a_receipt(
        probes=probes,
        active={"probes": required},
        said={"example 2": ""},
        candidate={
            "drift": 0.22,
            "perplexity": 24.0,
            "probes": {**required, "mine": False},
            "faults": (Fault("When is the stand-up?", "is empty"),),
            "leaks": (Leak("Who was Marie Curie?", "example 0", ("launchpad.sh",)),),
        },
    )


def a_rule(text="Answer in one sentence."):
    return Rule(id="rule", time="2026-11-21T12:00:00.000Z", text=text)
