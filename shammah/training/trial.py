"""The judging of a candidate: the saved adapter is asked beside the base and what answers now, and what comes of that
is written down as one: the end of its run, what it learned, the verdict, the receipt, and who answers from now on.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from random import Random

from shammah.adapters.bundle import MANIFEST, judged, read_bundle
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import Shelf
from shammah.deployment.live import FAILURES
from shammah.errors import AdapterDamaged, AdapterError, TrainingCancelled
from shammah.events import AdapterSwapped, TrainingMoved
from shammah.judging.figures import Figures
from shammah.judging.graduation import graduated
from shammah.judging.judge import Policy, judge
from shammah.judging.keeping import worth_keeping
from shammah.judging.measuring import measure
from shammah.judging.questions import Questions
from shammah.judging.receipt import body
from shammah.judging.verdict import Verdict
from shammah.model.device import is_out_of_memory
from shammah.records import Activation, Example, Receipt, Rule, Run
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.audit import Audit
from shammah.store.probes import Probes
from shammah.store.receipts import Receipts
from shammah.store.rules import Rules
from shammah.training.attempt import Base
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy
from shammah.training.examining import Examiner
from shammah.training.planning import Lesson
from shammah.training.workshop import Publish, Workshop

log = logging.getLogger(__name__)
# Of very many examples so many of each kind are asked about first: new ones, the weightiest, and some of the earlier
# ones, others each time.
_NEW_FIRST, _EARLIER_FIRST = 32, 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """An adapter on the shelf that was not judged yet, what it was taught, and the losses of its steps."""

    run: Run
    manifest: Manifest
    taught: tuple[Lesson, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a candidate; `swap` where it answers from now on, `retry` the gentler run that began then."""

    run: Run
    verdict: Verdict
    receipt: Receipt
    swap: AdapterSwapped | None
    retry: Run | None


@dataclass(frozen=True, slots=True)
class _Found:
    """What was measured, and decided by that. `before` is the adapter that the candidate was compared with, None where
    it was the base alone; `new` are the ids of what that had not learned. Where there are none `gone` is how much it
    learned that is not to be known any more."""

    questions: Questions
    base: Figures
    active: Figures
    candidate: Figures
    answering: Activation | None
    before: str | None
    new: tuple[str, ...]
    gone: int
    verdict: Verdict


class Trial:
    def __init__(
        self,
        shop: Workshop,
        shelf: Shelf,
        publish: Publish,
        again: Callable[[Run, Verdict], Run | None] = lambda run, verdict: None,
    ) -> None:
        """`again` begins another run after one that was rejected, where there is to be one."""
        self._shop, self._shelf, self._publish, self._again = shop, shelf, publish, again
        self._activations = Activations(shop.database)

    def judge(self, candidate: Candidate, base: Base, control: Control) -> Judged:
        """Nothing is stored before the last moment; whoever ends it until then finds the candidate as it was."""
        courtesy = Courtesy(self._shop.right_of_way, control, base.loaded.network.device)
        progress = _Progress(candidate.run, self._publish)
        examiner = Examiner(base, courtesy, self._shop.cache_folder / "judging", progress.computed)
        while True:
            found = self._measure(candidate, base, examiner, courtesy, progress)
            courtesy()
            self._publish(TrainingMoved(run_id=candidate.run.id, phase="recording"))
            if not control.ending:  # a program that ends waits for what is left to do
                control.raise_if_cancelled()
            done = self._conclude(candidate, found)
            if done is not None:
                return done

    # What is measured

    def _measure(
        self, candidate: Candidate, model: Base, examiner: Examiner, courtesy: Courtesy, progress: "_Progress"
    ) -> _Found:
        answering = self._activations.current(candidate.manifest.base)
        rival = self._rival(answering, candidate, model)
        learned_before = self._learned_by(rival, candidate.run) if rival else frozenset()
        taught = in_order(candidate.taught, learned_before, Random(candidate.run.seed))
        probes = Probes(self._shop.database).all()
        questions = Questions.about(taught, probes, system=self._shop.config.system)
        progress.begin(questions, voices=3 if rival else 2)
        clock = courtesy.working_time
        with examiner.voice() as voice:
            base = measure(voice, questions, clock=clock)
        progress.next()
        with examiner.voice(self._shelf.root / candidate.manifest.name) as voice:
            new = measure(voice, questions, base, clock=clock)
        progress.next()
        active = self._of_adapter(answering, examiner, questions, base, courtesy) if answering and rival else None
        known = learned_before if active is not None else frozenset()
        asked = [question.example for question in questions.as_asked]
        later = tuple(id for id in asked if id not in known)
        earlier = [id for id in asked if id in known]
        gone = len(self._gone(rival, candidate, known)) if rival and not later else 0
        verdict = judge(new, active or base, base, self._policy(), later, earlier, gone=gone)
        before = answering.adapter if answering and active else None
        return _Found(questions, base, active or base, new, answering, before, later, gone, verdict)

    def _learned_by(self, rival: Manifest, run: Run) -> frozenset[str]:
        """What it learned that still says the same. What was edited since the run began did when both learned it."""
        runs, ids = self._shop.runs, set(rival.example_ids)
        return frozenset(runs.as_learned(rival.name, ids) | ids & (set(run.example_ids) - runs.as_begun(run.id)))

    def _gone(self, rival: Manifest, candidate: Candidate, unchanged: Collection[str]) -> set[str]:
        """What the rival knows and the candidate does not, because it is not to be known any more, or not so."""
        live = self._shop.examples.find(ids=rival.known_ids, status="trainable", limit=None)
        not_so = set(rival.example_ids).difference(unchanged)
        return (not_so | rival.known_ids.difference(each.id for each in live)) - candidate.manifest.known_ids

    def _rival(self, answering: Activation | None, candidate: Candidate, model: Base) -> Manifest | None:
        """The other adapter that answers now; None where there is none, or one that the chat would refuse."""
        if answering is None or answering.adapter in (None, candidate.manifest.name):
            return None
        try:
            manifest = read_bundle(self._shelf.root / answering.adapter)
        except AdapterDamaged:
            log.warning("%s cannot answer: the base does", answering.adapter, exc_info=True)
            return None
        return manifest if (manifest.base_hash, manifest.template_hash) == model.hashes else None

    def _of_adapter(
        self, answering: Activation, examiner: Examiner, questions: Questions, base: Figures, courtesy: Courtesy
    ) -> Figures | None:
        """The figures of the adapter that answers now; None where it cannot, as the chat finds too."""
        assert answering.adapter is not None
        with examiner.voice(self._shelf.root / answering.adapter, answering.strength) as voice:
            try:
                voice.load()
            except TrainingCancelled:
                raise
            except FAILURES as error:
                courtesy()  # raises where the run was told to end
                if is_out_of_memory(error):  # in the chat it may answer all the same
                    raise
                log.warning("%s cannot answer: the base does", answering.adapter, exc_info=True)
                return None
            return measure(voice, questions, base, clock=courtesy.working_time)

    def _policy(self) -> Policy:
        set_so = self._shop.config.adapters
        return Policy(
            min_improvement=set_so.min_improvement,
            regression=set_so.regression,
            margins_up=set_so.margins_up,
            earlier_worse=set_so.earlier_worse,
            drift_pass=set_so.drift,
            drift_refuse=set_so.drift_refused,
        )

    # What is written down

    def _conclude(self, candidate: Candidate, found: _Found) -> Judged | None:
        """All of it or nothing; None where another adapter answers since this one was compared, or a probe that was
        asked is not wanted any more."""
        shop, run, manifest, verdict = self._shop, candidate.run, candidate.manifest, found.verdict
        told, metrics = verdict.as_json(), {check.name: check.value for check in verdict.checks}
        judged(self._shelf.root / manifest.name, {**manifest.metrics, **metrics}, told)
        with shop.database.transaction():
            if self._activations.current(manifest.base) != found.answering or not self._are_wanted(found.questions):
                return None
            # Whoever takes an adapter away writes too, so from here on this one stays.
            if not (self._shelf.root / manifest.name / MANIFEST).is_file():
                raise AdapterError(f"The adapter {manifest.name} was taken away while it was judged")
            self._write_down(candidate, verdict)
            swap, retry, graduates = None, None, []
            if verdict.accepted:
                run = shop.runs.finish(run.id, manifest.name, shop.examples, learned=manifest.example_ids)
                graduates = self._graduate(candidate, found)
                Probes(shop.database).keep(worth_keeping(self._learned(candidate), candidate.taught, found.candidate))
                swap = self._swap(manifest, found) if shop.config.adapters.auto_swap else None
            else:
                run = shop.runs.reject(run.id, manifest.name, why="; ".join(verdict.reasons))
            receipt = self._receipt(run, candidate, found, swap is not None, graduates)
            if not verdict.accepted:
                retry = self._again(run, verdict)
        return Judged(run, verdict, receipt, swap, retry)

    def _are_wanted(self, asked: Questions) -> bool:
        """Whether the user's probes that were asked are all there still, and ask the same."""
        there = {(probe.id, probe.prompt, probe.contains) for probe in Probes(self._shop.database).all()}
        return there.issuperset((probe.id, probe.prompt, probe.contains) for probe in asked.required)

    def _write_down(self, candidate: Candidate, verdict: Verdict) -> None:
        """In the note and in the audit trail, which holds no words but ours."""
        run, name, audit = candidate.run, candidate.manifest.name, Audit(self._shop.database)
        AdapterNotes(self._shop.database).judged(name, verdict.as_json())
        version = candidate.manifest.version
        learned = {"run": run.id, "trigger": run.trigger, "attempt": run.attempt, "version": version}
        audit.add("training", "trained", name, {**learned, "examples": len(candidate.manifest.example_ids)})
        failed = [check.name for check in verdict.checks if not check.passed]
        result = {"run": run.id, "accepted": verdict.accepted, "improvement": verdict.improvement, "failed": failed}
        audit.add("training", "judged", name, result)

    def _swap(self, manifest: Manifest, found: _Found) -> AdapterSwapped:
        previous = found.answering.adapter if found.answering else None
        rival = found.before or "the base model"
        cause = f"no worse than {rival}, without what is gone" if found.gone else f"better than {rival}"
        self._activations.activate(manifest.base, manifest.name, actor="training", cause=cause)
        return AdapterSwapped(manifest.name, previous, cause)

    def _graduate(self, candidate: Candidate, found: _Found) -> list[Rule]:
        """The rules that need not be given any more while this adapter answers."""
        rules, audit, name = Rules(self._shop.database), Audit(self._shop.database), candidate.manifest.name
        targets = {lesson.id: lesson.target for lesson in candidate.taught}
        learned = [replace(each, target=targets.get(each.id)) for each in self._learned(candidate)]
        ids = graduated(rules.active(), learned, found.candidate, found.base)
        rules.graduate(ids, name)
        for id in ids:
            audit.add("training", "graduated", name, {"rule": id})
        return [rule for rule in rules.all() if rule.id in ids]

    def _receipt(
        self, run: Run, candidate: Candidate, found: _Found, deployed: bool, graduates: Sequence[Rule]
    ) -> Receipt:
        told = body(
            replace(run, model=candidate.manifest.base),  # of a path no more than others may read
            self._learned(candidate),
            found.questions,
            losses=candidate.losses,
            base=found.base,
            active=found.active,
            candidate=found.candidate,
            verdict=found.verdict,
            deployed=deployed,
            version=candidate.manifest.version,
            before=found.before,
            new_ids=found.new,
            graduated=graduates,
        )
        return Receipts(self._shop.database).put(run.id, candidate.manifest.name, told)

    def _learned(self, candidate: Candidate) -> list[Example]:
        return self._shop.examples.find(ids=candidate.manifest.example_ids, limit=None)


def in_order(taught: Sequence[Lesson], known: Collection[str], random: Random) -> list[Lesson]:
    """Those first that tell most, where not all can be asked about. `known` are the ids of what was learned before."""
    new = sorted((lesson for lesson in taught if lesson.id not in known), key=lambda lesson: -lesson.weight)
    earlier = [lesson for lesson in taught if lesson.id in known]
    random.shuffle(earlier)
    return [*new[:_NEW_FIRST], *earlier[:_EARLIER_FIRST], *new[_NEW_FIRST:], *earlier[_EARLIER_FIRST:]]


class _Progress:
    """How much of the judging is done. Each voice counts the same, however much of it was known before."""

    def __init__(self, run: Run, publish: Publish) -> None:
        self._run, self._publish = run, publish
        self._each = self._voices = self._voice = self._done = 0

    def begin(self, questions: Questions, *, voices: int) -> None:
        pairs = sum(1 + bool(question.rejected) for question in questions.held_out)
        general = len(questions.general)
        probes = len(questions.required) + 2 * len(questions.kept)
        self._each = pairs + 2 * general + probes + len(questions.answered) + len(questions.texts)
        self._voices, self._voice, self._done = voices, 0, 0
        self._tell()

    def next(self) -> None:
        self._voice, self._done = self._voice + 1, 0
        self._tell()

    def computed(self, rows: int) -> None:
        self._done = min(self._each, self._done + rows)
        self._tell()

    def _tell(self) -> None:
        step, steps = self._voice * self._each + self._done, self._voices * self._each
        self._publish(TrainingMoved(run_id=self._run.id, phase="judging", step=min(step, steps), steps=steps))
