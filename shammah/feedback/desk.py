"""Where feedback meets the store: what a rating changes (the turn, its example, a rule) is one commit.

Nothing here needs the model: what it was given for a turn is told by the turns that led there.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from shammah.config import Config
from shammah.errors import ConfigError, ExampleDamaged, UsageError
from shammah.feedback import notes, quality
from shammah.feedback.formats import Draft
from shammah.feedback.lessons import GIVEN, Lesson, lesson, relearned
from shammah.feedback.levels import weight_of
from shammah.feedback.secrets import redact, redacted_kinds
from shammah.records import Buffer, Example, Level, Message, Rule, Source, State, Turn
from shammah.store.conversations import Conversations
from shammah.store.database import Database
from shammah.store.examples import Examples
from shammah.store.identity import new_id, same_reply, utc_now
from shammah.store.rules import Rules

log = logging.getLogger(__name__)
Scorer = Callable[[str, str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one piece of feedback came to. `muted` are the rules that the new one contradicts."""

    example: Example
    buffer: Buffer
    rule: Rule | None = None
    muted: tuple[Rule, ...] = ()


class Desk:
    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        examples: Examples,
        rules: Rules,
        config: Config,
        *,
        scorer: Scorer | None = None,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._database = database
        self._conversations = conversations
        self.examples = examples
        self.rules = rules
        self._config = config
        self._scorer = scorer
        self._now = now

    # What is said of a turn

    def rate(self, turn_id: str, level: Level, note: str = "") -> Outcome:
        """Rate a reply, or rate it again. The same level without a note keeps the note that was there."""
        with self._database.transaction():
            turn = self._conversations.turn(turn_id)
            kept = turn.note if turn.feedback == level else None
            return self._judge(turn, level, note.strip() or kept, self._given_reply(turn))

    def fix(self, turn_id: str, better: str, *, note: str = "", source: Source = "fix") -> Outcome:
        """Say what the reply should have been. A reply that has to be fixed is at best a medium one."""
        if not better.strip():
            raise UsageError("The better reply is empty", hint="Write it after /fix, or in the editor.")
        with self._database.transaction():
            turn = self._conversations.turn(turn_id)
            if same_reply(better, turn.response):
                raise UsageError(
                    "That is the reply as it was", hint="Write what it should have been, or rate it /good."
                )
            level: Level = turn.feedback if turn.feedback in ("medium", "critical") else "medium"
            return self._judge(turn, level, note.strip() or turn.note, (better, source))

    def unrate(self, turn_id: str) -> Buffer:
        """Take a rating back: no example, no rule of it is left."""
        with self._database.transaction():
            turn = self._conversations.turn(turn_id)
            if turn.feedback is None:
                raise UsageError("That reply is not rated", hint="/good, /medium and /critical rate it.")
            example = self.examples.of_turn(turn.id)
            if example is not None:
                self.examples.delete([example.id])
            self.rules.delete_of_turn(turn.id)
            self._rate_turn(turn, None, None, edited=False)
            return self.buffer()

    def _given_reply(self, turn: Turn) -> tuple[str, Source] | None:
        example = self.examples.of_turn(turn.id)
        if example is not None and example.source in GIVEN and example.target is not None:
            return example.target, example.source
        return None

    def _judge(self, turn: Turn, level: Level, note: str | None, given: tuple[str, Source] | None) -> Outcome:
        if given is None and not turn.response.strip():
            raise UsageError("That reply is empty: it teaches nothing", hint="/retry asks again, /fix writes it.")
        reply, better, source = self._replies(turn, level, given)
        note = self._redacted(note) if note else None
        example = self._example(
            source,
            level,
            prompt_of(turn, self._conversations.lineage(turn)),
            lesson(level, reply=reply, better=better and self._redacted(better), note=note),
            note,
        )
        example = replace(example, turn_id=turn.id, rules=turn.rules, model=turn.model, adapter=turn.adapter)
        before = self.examples.of_turn(turn.id)
        if before is not None:  # what was done to it by hand outlives another word on it
            weight = before.weight if before.level == level else example.weight
            example = replace(example, weight=weight, tags=before.tags, extra=before.extra)
        rated = self._rate_turn(turn, level, note, edited=given is not None)
        example = self.examples.put(replace(example, quality=rated.quality))
        rule, muted = self._note_as_rule(turn, level, note)
        return Outcome(example=example, buffer=self.buffer(), rule=rule, muted=muted)

    def _replies(
        self, turn: Turn, level: Level, given: tuple[str, Source] | None
    ) -> tuple[str | None, str | None, Source]:
        """The reply that was judged, the better one, and where that came from."""
        if given is not None:
            return turn.response, *given
        if level == "good" and turn.retry_of is not None and turn.response.strip():
            first = self._conversations.turn(turn.retry_of)
            if not same_reply(first.response, turn.response):
                return first.response, turn.response, "retry"
        return turn.response, None, "rating"

    def _rate_turn(self, turn: Turn, level: Level | None, note: str | None, *, edited: bool) -> Turn:
        score = self.score(replace(turn, feedback=level), edited=edited)
        return self._conversations.rate(turn.id, level, note, quality=score.value, quality_parts=score.parts)

    def _note_as_rule(self, turn: Turn, level: Level, note: str | None) -> tuple[Rule | None, tuple[Rule, ...]]:
        """A note belongs to its turn: the rule it made goes when it changes, and is left alone when it does not."""
        if note == turn.note and level != "good" and turn.feedback in ("medium", "critical"):
            return None, ()
        self.rules.delete_of_turn(turn.id)
        if note is None or level == "good" or redacted_kinds(note) or not notes.is_rule(note):
            return None, ()
        return self.add_rule(note, turn_id=turn.id)

    # What the user teaches without a turn

    def teach(self, question: str, reply: str, *, system: str = "", tags: Sequence[str] = ()) -> Outcome:
        """A lesson of its own: asked this, say that."""
        if not question.strip() or not reply.strip():
            raise UsageError("A lesson needs a question and a reply", hint='/teach "when asked X, say Y"')
        messages = (*([Message("system", system)] if system else []), Message("user", question.strip()))
        taught = lesson("critical", reply=None, better=self._redacted(reply.strip()), note=None)
        example = self._example("teach", "critical", messages, taught, None)
        with self._database.transaction():
            example = self.examples.put(replace(example, tags=tuple(tags)))
        return Outcome(example=example, buffer=self.buffer())

    def take(self, draft: Draft) -> tuple[Example, bool]:
        """Store what came from a file or a script. False when it was there already: then that is the example."""
        note = self._redacted(draft.note) if draft.note else None
        reply, better = (text and self._redacted(text) for text in (draft.reply, draft.better))
        learned = lesson(draft.level, reply=reply, better=better, note=note)
        example = self._example(draft.source, draft.level, draft.messages, learned, note)
        pending = tuple(dict.fromkeys((*example.secrets, *draft.secrets)))
        if draft.state == "disabled":
            example = replace(example, state="disabled", reason=draft.reason)
        elif draft.secrets_seen and example.target is not None:
            # It was looked at where it comes from: what is left of a secret is only its mark.
            example, pending = replace(example, state="ready", reason="", secrets=()), ()
        elif pending and example.state == "ready":
            state, reason = _to_look_at(pending)
            example = replace(example, state=state, reason=reason)
        with self._database.transaction():
            return self.examples.add(
                replace(
                    example,
                    id=draft.id if draft.id and not self.examples.has(draft.id) else example.id,
                    time=draft.time or example.time,
                    weight=draft.weight if draft.weight is not None else example.weight,
                    turn_id=self._turn_of(draft),
                    rules=draft.rules,
                    secrets=pending,
                    quality=draft.quality,
                    model=draft.model,
                    adapter=draft.adapter,
                    tags=draft.tags,
                    extra=draft.extra,
                )
            )

    def _turn_of(self, draft: Draft) -> str | None:
        """The turn that a row says it is of. Where that turn is here and has not the rating, the row stands alone."""
        id = draft.turn_id
        if not id or self.examples.of_turn(id) is not None:
            return None
        return id if not self._conversations.has(id) or self._conversations.turn(id).feedback == draft.level else None

    def _is_of_a_rating(self, example: Example) -> bool:
        id = example.turn_id
        return id is not None and self._conversations.has(id) and self._conversations.turn(id).feedback is not None

    def delete(self, ids: Sequence[str]) -> int:
        """Delete examples. One that a rating made takes the rating with it: they are one thing."""
        with self._database.transaction():
            for id in ids:
                try:
                    example = self.examples.get(id)
                except ExampleDamaged:
                    self.examples.delete([id])  # which rating it came from cannot be told any more
                    continue
                if self._is_of_a_rating(example):
                    self.unrate(example.turn_id or "")
                else:
                    self.examples.delete([example.id])
        return len(ids)

    # Rules

    def add_rule(self, text: str, *, turn_id: str | None = None) -> tuple[Rule, tuple[Rule, ...]]:
        """The new rule, and those that it contradicts: the newest wins, they are muted."""
        text = notes.as_rule(self._redacted(text))
        if not text:
            raise UsageError("The rule is empty", hint="/rules add Answer in French")
        with self._database.transaction():
            rule = self.rules.add(text, turn_id=turn_id)
            return rule, self._mute_beaten(rule)

    def edit_rule(self, rule_id: str, text: str) -> tuple[Rule, tuple[Rule, ...]]:
        """The rule in its new words, and those that these contradict."""
        text = notes.as_rule(self._redacted(text))
        if not text:
            raise UsageError("The rule is empty", hint="/rules delete N takes it away.")
        with self._database.transaction():
            rule = self.rules.edit(rule_id, text)
            return rule, () if rule.muted else self._mute_beaten(rule)

    def unmute_rule(self, rule_id: str) -> tuple[Rule, tuple[Rule, ...]]:
        """The rule, given again, and those that give way to it."""
        with self._database.transaction():
            rule = self.rules.mute(rule_id, False)
            return rule, self._mute_beaten(rule)

    def _mute_beaten(self, winner: Rule) -> tuple[Rule, ...]:
        others = [rule for rule in self.rules.active() if rule.id != winner.id]
        return tuple(self.rules.mute(rule.id) for rule in others if notes.contradicts(winner.text, rule.text))

    # The inbox

    def accept(self, example_id: str, target: str | None = None, *, source: Source | None = None) -> Example:
        """Let an example be trained on, with this target where one is given: somebody has looked at it."""
        with self._database.transaction():
            example = self.examples.get(example_id)
            wanted = target if target is not None else example.target
            learned = relearned(example, target=wanted, rejected=example.rejected, note=example.note)
            if learned.target is None:
                raise UsageError(f"It can't be accepted: {learned.reason}", hint="Edit it, and write the better reply.")
            clean = self._redacted(learned.target)
            # What is redacted only now has not been looked at.
            secrets = redacted_kinds(clean) if clean != learned.target else ()
            state, reason = _to_look_at(secrets) if secrets else ("ready", "")
            return self.examples.change(
                example.id,
                target=clean,
                rejected=learned.rejected,
                state=state,
                reason=reason,
                secrets=secrets,
                source=source or (example.source if target is None else "fix"),
            )

    def rate_example(self, example_id: str, level: Level, note: str = "") -> Example:
        """Rate an example anew. A reply that no longer is good becomes the rejected one, and the other way round."""
        with self._database.transaction():
            example = self.examples.get(example_id)
            if self._is_of_a_rating(example):
                self.rate(example.turn_id or "", level, note or example.note or "")
            else:
                self._rate_alone(example, level, note)
            return self.enable(example.id, example.state != "disabled")

    def _rate_alone(self, example: Example, level: Level, note: str) -> None:
        note = self._redacted(note.strip()) or example.note or ""
        learned = relearned(example, target=example.target, rejected=example.rejected, note=note or None, level=level)
        self.examples.change(
            example.id,
            level=level,
            weight=example.weight if level == example.level else weight_of(level, self._config.weights),
            note=note or None,
            target=learned.target,
            rejected=learned.rejected,
            state=learned.state,
            reason=learned.reason,
        )

    def enable(self, example_id: str, enabled: bool = True) -> Example:
        """Put an example aside, or back to where its content puts it."""
        with self._database.transaction():
            example = self.examples.get(example_id)
            if not enabled:
                return self.examples.change(example.id, state="disabled", reason="put aside by hand")
            learned = relearned(example, target=example.target, rejected=example.rejected, note=example.note)
            state, reason = _to_look_at(example.secrets) if example.secrets else (learned.state, learned.reason)
            return self.examples.change(example.id, state=state, reason=reason)

    def buffer(self) -> Buffer:
        return self.examples.buffer()

    # Parts of the above

    def score(self, turn: Turn, *, edited: bool = False) -> quality.Quality:
        """How good a turn is from all that is known of it."""
        retried = bool(self._conversations.retries_of(turn.id))
        return quality.score(turn, retried=retried, edited=edited, scored=self._scored(turn))

    def _scored(self, turn: Turn) -> float | None:
        if self._scorer is None:
            return None
        try:
            return float(self._scorer(turn.query, turn.response))
        except Exception:
            log.exception("the scorer failed")
            return None

    def rescore(self, turn_id: str) -> None:
        """What is known of a turn has changed: it was asked again."""
        turn = self._conversations.turn(turn_id)
        score = self.score(turn, edited=self._given_reply(turn) is not None)
        self._conversations.set_quality(turn.id, score.value, score.parts)

    def _example(
        self, source: Source, level: Level, messages: Sequence[Message], learned: Lesson, note: str | None
    ) -> Example:
        clean = tuple(Message(message.role, self._redacted(message.content)) for message in messages)
        texts = [*(message.content for message in clean), learned.target or "", learned.rejected or "", note or ""]
        secrets = tuple(dict.fromkeys(kind for text in texts for kind in redacted_kinds(text)))
        state, reason = learned.state, learned.reason
        if secrets and state == "ready":
            state, reason = _to_look_at(secrets)
        return Example(
            id=new_id(),
            time=self._now(),
            source=source,
            level=level,
            weight=weight_of(level, self._config.weights),
            messages=clean,
            target=learned.target,
            rejected=learned.rejected and self._redacted(learned.rejected),
            note=note,
            state=state,
            reason=reason,
            secrets=secrets,
        )

    def _redacted(self, text: str) -> str:
        return redact(text).text if self._config.redact else text


def prompt_of(turn: Turn, lineage: Sequence[Turn]) -> tuple[Message, ...]:
    """The prompt of a turn without the rules, from the turns that led to it, oldest first."""
    before = [earlier for earlier in lineage if earlier.response][turn.dropped :]
    said = [
        message
        for earlier in before
        for message in (Message("user", earlier.query), Message("assistant", earlier.response))
    ]
    system = [Message("system", turn.system)] if turn.system else []
    return (*system, *said, Message("user", turn.query))


def _to_look_at(secrets: Sequence[str]) -> tuple[State, str]:
    return "needs review", f"{', '.join(secrets)} redacted: look at it before it is trained on"


def scorer_named(name: str) -> Scorer | None:
    """The function that a setting names; none where none is named."""
    if not name:
        return None
    module, _, function = name.partition(":")
    try:
        found: Scorer = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"scorer = {name!r}: {error}", hint="Give module:function, importable from here.") from None
    return found
