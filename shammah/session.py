"""One conversation.

What was said, what the model is given of it, and each finished turn stored before the next begins.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from shammah.config import GenerationSettings
from shammah.errors import PromptTooLong, ShammahError, UsageError
from shammah.events import Notice
from shammah.file_parts import title_of
from shammah.model.window import Filling, fill, fit, room_for_reply
from shammah.records import Message, Piece, Reply, Turn
from shammah.store.conversations import Conversations, without_beginnings
from shammah.store.identity import context_hash, dedupe_hash, new_id, utc_now
from shammah.unfinished import begun_by, require_unfinished, torn

if TYPE_CHECKING:
    from shammah.feedback.desk import Desk
    from shammah.model.chat_model import ChatModel
    from shammah.model.speaking import Voice

# Small models heed a rule best right before the question (measured with 135M parameters). Models of about this size
# and more are trained to heed their system prompt, where rules cost no cache.
_HEEDS_SYSTEM_PROMPT = 1_000_000_000
Place = Literal["question", "system"]

# A second try with the first one's settings could only say the same again.
_RETRY_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Question:
    """A user's text on its way to the model: the tokens of the whole prompt and the messages they were made of, and the
    voice that answers it, whoever speaks by the time it has. Where a turn had `begun` to answer it, the prompt ends
    with that reply."""

    text: str
    prompt: list[int]
    messages: Sequence[Message]
    settings: GenerationSettings
    voice: "Voice"
    rules: tuple[str, ...] = ()
    retry_of: str | None = None
    begun: Turn | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a conversation is kept: its turns, and the desk that knows what they are worth."""

    conversations: Conversations
    desk: "Desk"
    redact: bool = True


@dataclass(frozen=True, slots=True)
class Guidance:
    """The rules that the model is given, asked for anew before every message for the adapter that answers it and its
    strength, and where it heeds them best."""

    rules: Callable[[str | None, float], Sequence[str]] = lambda adapter, strength: ()
    place: Place = "question"


def place_of_rules(setting: str, parameters: int) -> Place:
    """Where a model of this size is given the rules."""
    if setting == "auto":
        return "system" if parameters >= _HEEDS_SYSTEM_PROMPT else "question"
    return "system" if setting == "system" else "question"


class Session:
    """`memory` is None when nothing is to be stored.

    `history` is what an earlier run of this conversation said.
    """

    def __init__(
        self,
        model: "ChatModel",
        memory: Memory | None,
        *,
        system: str = "",
        history: Sequence[Turn] = (),
        guidance: Guidance = Guidance(),
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._model = model
        self._memory = memory
        self._guidance = guidance
        self._now = now
        self._system = Message("system", system) if system else None
        self._turns = list(history)
        self._unstored: list[tuple[Turn, str]] = []
        self._redacted: list[str] = []
        self._said: dict[str, Turn] = {}  # what was said here, as only this conversation may know it
        self._dropped = history[-1].dropped if history else 0
        self.conversation_id = history[-1].conversation_id if history else new_id()

    @property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self._turns)

    def work_as(self, other: "Session") -> None:
        """Go on with the model, the memory, the system prompt and the rules that another session was made with."""
        if other._model is not self._model:
            self._dropped = 0  # what left the window of one may fit that of another
        self._model, self._memory = other._model, other._memory
        self._system, self._guidance = other._system, other._guidance

    def clear(self, system: str = "") -> None:
        """Begin a new conversation with this system prompt; the old one stays stored."""
        self._system = Message("system", system) if system else None
        self._turns, self._dropped, self._said = [], 0, {}
        self.conversation_id = new_id()

    def undo(self, count: int = 1) -> list[Turn]:
        """Take the last turns out of the conversation. They stay stored, and rated if they were."""
        kept = max(0, len(self._turns) - count)
        undone = self._turns[kept:]
        del self._turns[kept:]
        self._dropped = min(self._dropped, kept)
        if undone and self._memory is not None:
            self.store()
            self._memory.conversations.set_head(self.conversation_id, self._turns[-1].id if self._turns else None)
        return undone

    def retry(
        self, settings: GenerationSettings, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[Piece | Notice | Turn, None, None]:
        """Ask the last question again. The new turn takes the old one's place; without a new one the old one stays."""
        if not self._turns:
            raise UsageError("There is no reply to try again", hint="Ask something first.")
        first = self._turns[-1]
        other = replace(
            settings,
            temperature=settings.temperature or _RETRY_TEMPERATURE,
            seed=settings.seed if settings.seed < 0 else (settings.seed + len(self.variants())) % 2**63,
        )
        with self._replacing_last():
            yield from self.ask(first.query, other, cancelled=cancelled, retry_of=first.id)

    def go_on(
        self, settings: GenerationSettings, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[Piece | Notice | Turn, None, None]:
        """Pieces of what follows the last reply, which was stopped. The new turn has the whole of it and takes the old
        one's place; without a new one the old one stays."""
        require_unfinished(self._turns)
        begun = self._turns[-1]
        try:
            with self._replacing_last():
                yield from self.ask(begun.query, settings, cancelled=cancelled, retry_of=begun.retry_of, begun=begun)
        except PromptTooLong:
            raise PromptTooLong(
                f"The reply so far fills the context window of {self._model.window:,} tokens",
                hint="/retry asks again, /clear starts afresh.",
            ) from None

    @contextmanager
    def _replacing_last(self) -> Iterator[None]:
        """The last turn makes room for another, and comes back where none came."""
        last = self._turns.pop()
        asked = len(self._turns)
        try:
            yield
        finally:
            if len(self._turns) == asked:
                self._turns.append(last)

    def variants(self) -> list[Turn]:
        """The replies to the last question, oldest first, that of the conversation among them."""
        if not self._turns:
            return []
        last = self._turns[-1]
        if self._memory is None:
            here = [turn for turn in self._said.values() if (turn.parent, turn.query) == (last.parent, last.query)]
            return without_beginnings(here, last)
        self.store()
        return [self._said.get(turn.id, turn) for turn in self._memory.conversations.variants(last)]

    def choose(self, turn: Turn) -> None:
        """Have the conversation go on from this one of the variants."""
        if self._memory is not None:
            self._memory.conversations.set_head(self.conversation_id, turn.id)
        self._turns[-1] = turn

    def ask(
        self,
        text: str,
        settings: GenerationSettings,
        *,
        voice: "Voice | None" = None,
        cancelled: Callable[[], bool] = lambda: False,
        retry_of: str | None = None,
        begun: Turn | None = None,
    ) -> Generator[Piece | Notice | Turn, None, None]:
        """Pieces of the reply as they come, notices in between, at last the Turn as it was stored.

        With another voice, where one is given, and from where another turn had `begun` to answer. Closing the iterator
        early stores the turn with what was said so far: a reader that went away loses nothing.
        """
        before = self._dropped
        question = replace(self.prepare(text, settings, voice, begun), retry_of=retry_of)
        if self._dropped > before:
            yield Notice(_dropped_words(self._dropped, self._model.window))
        gone = False
        said: list[Piece] = []
        turns = len(self._turns)
        start = time.perf_counter()
        # Closed at once: a stream that is only left behind keeps the model to itself until it is collected.
        with closing(
            self._model.reply(
                question.prompt,
                settings,
                voice=question.voice,
                begun=begun_by(begun),
                cancelled=lambda: gone or cancelled(),
            )
        ) as stream:
            try:
                try:
                    for item in stream:
                        if isinstance(item, Piece):
                            said.append(item)
                            yield item
                        else:
                            yield from self._finished(question, item)
                except GeneratorExit:
                    gone = True
                    for item in stream:
                        if isinstance(item, Reply):
                            self.finish(question, item)
                    raise
            except KeyboardInterrupt:
                if len(self._turns) == turns:
                    milliseconds = 1000 * (time.perf_counter() - start)
                    self.finish(question, torn(begun, said, len(question.prompt), milliseconds, self._model.count))
                else:
                    self.store()  # the interrupt came while it was being stored
                raise

    def prepare(
        self, text: str, settings: GenerationSettings, voice: "Voice | None" = None, begun: Turn | None = None
    ) -> Question:
        """The prompt for a text in this conversation, as much of it as fits the window."""
        require_text(text)
        turns = self._exchanges()
        voice = voice or self._model.voice
        rules, guided = self._guided_for(voice)
        fitted = fit(
            self._system,
            turns,
            Message("user", text),
            encode=lambda messages: self._model.encode(guided(messages), begun_by(begun)),
            window=self._model.window,
            reserve=room_for_reply(self._model.window, settings.max_tokens),
            already_dropped=self._dropped,
        )
        self._dropped = fitted.dropped
        return Question(text, fitted.ids, guided(fitted.messages), settings, voice, rules, begun=begun)

    def filling(self, settings: GenerationSettings) -> Filling:
        """What the context window would hold with the next message, apart from that message."""
        _, guided = self._guided_for(self._model.voice)
        return fill(
            self._system,
            self._exchanges(),
            encode=lambda messages: self._model.encode(guided(messages)),
            window=self._model.window,
            reserve=room_for_reply(self._model.window, settings.max_tokens),
            dropped=self._dropped,
        )

    def _exchanges(self) -> list[tuple[Message, Message]]:
        return [(Message("user", t.query), Message("assistant", t.response)) for t in self._turns if t.response]

    def _guided_for(self, voice: "Voice") -> tuple[tuple[str, ...], Callable[[Sequence[Message]], tuple[Message, ...]]]:
        """The rules for who answers, and the way to put them into messages."""
        from shammah.feedback.notes import with_rules  # not needed before the prompt is painted

        rules = tuple(self._guidance.rules(voice.adapter, voice.strength))
        return rules, lambda messages: with_rules(messages, rules, place=self._guidance.place)

    def finish(self, question: Question, reply: Reply) -> Turn:
        """The turn that question and reply make, stored."""
        begun = question.begun
        turn = Turn(
            id=new_id(),
            conversation_id=self.conversation_id,
            number=len(self._turns) + 1,
            time=self._now(),
            query=question.text,
            response=reply.text,
            reasoning=begun.reasoning if begun else reply.reasoning,
            model=self._model.name,
            adapter=question.voice.adapter,
            system=self._system.content if self._system else "",
            options=asdict(question.settings),
            stop_reason=reply.stop_reason,
            latency_ms=reply.duration_ms,
            first_token_ms=reply.first_token_ms,
            input_tokens=reply.input_tokens,
            cached_tokens=reply.cached_tokens,
            output_tokens=reply.output_tokens,
            parent=self._turns[-1].id if self._turns else None,
            dropped=self._dropped,
            retry_of=question.retry_of,
            continues=begun.id if begun else None,
            rules=question.rules,
            context_hash=context_hash(question.messages),
            dedupe_hash=dedupe_hash(question.text, reply.text),
        )
        self._turns.append(turn)
        self._said[turn.id] = turn
        self._unstored.append((turn, self._turns[0].query))
        self.store()
        return self._turns[-1]

    def _finished(self, question: Question, reply: Reply) -> Generator[Notice | Turn, None, None]:
        """The turn, and only then what went wrong with storing it: the reply is there either way."""
        failure: ShammahError | None = None
        self._redacted.clear()
        try:
            self.finish(question, reply)
        except ShammahError as error:
            failure = error
        if self._redacted:
            yield Notice(f"Not stored as it stands: {', '.join(self._redacted)} redacted.")
        yield self._turns[-1]
        if failure is not None:
            raise failure

    def store(self) -> None:
        """Store what is not stored yet. A turn that could not be, because the database was held or the disk full, stays
        in the conversation and is stored with the next one."""
        if self._memory is None:
            self._unstored.clear()
            return
        from shammah.feedback.secrets import redact

        while self._unstored:
            turn, first = self._unstored[0]
            clean, kinds = _without_secrets(turn) if self._memory.redact else (turn, [])
            scored = self._memory.desk.score(clean)
            clean = replace(clean, quality=scored.value, quality_parts=scored.parts)
            title = title_of(redact(first).text if self._memory.redact else first)
            stored = self._memory.conversations.add(clean, title=title)
            if turn.retry_of is not None:
                self._memory.desk.rescore(turn.retry_of)
            del self._unstored[0]
            self._redacted += kinds
            # What cannot be written as it is, such as half of a surrogate pair, is from now on what was written; only
            # this conversation still knows what was redacted.
            known = replace(turn, number=stored.number) if kinds else stored
            self._said[turn.id] = known
            self._turns = [known if turn.id == known.id else turn for turn in self._turns]


def _without_secrets(turn: Turn) -> tuple[Turn, list[str]]:
    """The turn as it may be stored, and the kinds of what was taken out of it."""
    from shammah.feedback.secrets import redact

    texts = {name: redact(getattr(turn, name)) for name in ("query", "response", "reasoning", "system")}
    kinds = list(dict.fromkeys(kind for redacted in texts.values() for kind in redacted.kinds))
    clean: dict[str, Any] = {name: redacted.text for name, redacted in texts.items()}
    return replace(turn, rules=tuple(redact(rule).text for rule in turn.rules), **clean), kinds


def require_text(text: str) -> None:
    """UsageError for a prompt that says nothing, or that no tokenizer can read."""
    if not text.strip():
        raise UsageError("The prompt is empty", hint="Give a text as argument, with -p, or on stdin.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The prompt is not UTF-8 text (character {error.start + 1})", hint="Write it in UTF-8."
        ) from None


def _dropped_words(dropped: int, window: int) -> str:
    turns = "turn has" if dropped == 1 else f"{dropped} turns have"
    return f"The context window of {window:,} tokens is full: the oldest {turns} left it. /clear starts afresh."
