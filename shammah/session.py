"""One conversation.

What was said, what the model is given of it, and each finished turn stored before the next begins.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from shammah.config import GenerationSettings
from shammah.errors import ShammahError, UsageError
from shammah.events import Notice
from shammah.model.window import fit, room_for_reply
from shammah.records import Message, Piece, Reply, Turn
from shammah.store.conversations import Conversations
from shammah.store.identity import context_hash, dedupe_hash, new_id, utc_now

if TYPE_CHECKING:
    from shammah.model.chat_model import ChatModel


@dataclass(frozen=True, slots=True)
class Question:
    """A user's text on its way to the model: the tokens of the whole prompt and the messages they were made of."""

    text: str
    prompt: list[int]
    messages: Sequence[Message]
    settings: GenerationSettings


class Session:
    """`conversations` is None when nothing is to be stored.

    `history` is what an earlier run of this conversation said.
    """

    def __init__(
        self,
        model: "ChatModel",
        conversations: Conversations | None,
        *,
        system: str = "",
        history: Sequence[Turn] = (),
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._model = model
        self._conversations = conversations
        self._now = now
        self._system = Message("system", system) if system else None
        self._turns = list(history)
        self._unstored: list[tuple[Turn, str]] = []
        self._dropped = 0
        self.conversation_id = history[-1].conversation_id if history else new_id()

    @property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self._turns)

    def clear(self) -> None:
        """Begin a new conversation; the old one stays stored."""
        self._turns, self._dropped = [], 0
        self.conversation_id = new_id()

    def ask(
        self, text: str, settings: GenerationSettings, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[Piece | Notice | Turn, None, None]:
        """Pieces of the reply as they come, notices in between, at last the Turn as it was stored.

        Closing the iterator early stores the turn with what was said so far: a reader that went away loses nothing.
        """
        before = self._dropped
        question = self.prepare(text, settings)
        if self._dropped > before:
            yield Notice(_dropped_words(self._dropped, self._model.window))
        gone = False
        said: list[Piece] = []
        turns = len(self._turns)
        start = time.perf_counter()
        # Closed at once: a stream that is only left behind keeps the model to itself until it is collected.
        with closing(self._model.reply(question.prompt, settings, cancelled=lambda: gone or cancelled())) as stream:
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
                    self.finish(question, self._torn(said, len(question.prompt), milliseconds))
                else:
                    self.store()  # the interrupt came while it was being stored
                raise

    def prepare(self, text: str, settings: GenerationSettings) -> Question:
        """The prompt for a text in this conversation, as much of it as fits the window."""
        require_text(text)
        turns = [(Message("user", t.query), Message("assistant", t.response)) for t in self._turns if t.response]
        fitted = fit(
            self._system,
            turns,
            Message("user", text),
            encode=self._model.encode,
            window=self._model.window,
            reserve=room_for_reply(self._model.window, settings.max_tokens),
            already_dropped=self._dropped,
        )
        self._dropped = fitted.dropped
        return Question(text, fitted.ids, fitted.messages, settings)

    def finish(self, question: Question, reply: Reply) -> Turn:
        """The turn that question and reply make, stored."""
        turn = Turn(
            id=new_id(),
            conversation_id=self.conversation_id,
            number=len(self._turns) + 1,
            time=self._now(),
            query=question.text,
            response=reply.text,
            reasoning=reply.reasoning,
            model=self._model.name,
            system=self._system.content if self._system else "",
            options=asdict(question.settings),
            stop_reason=reply.stop_reason,
            latency_ms=reply.duration_ms,
            first_token_ms=reply.first_token_ms,
            input_tokens=reply.input_tokens,
            cached_tokens=reply.cached_tokens,
            output_tokens=reply.output_tokens,
            context_hash=context_hash(question.messages),
            dedupe_hash=dedupe_hash(question.text, reply.text),
        )
        self._turns.append(turn)
        self._unstored.append((turn, title_of(self._turns[0].query)))
        self.store()
        return self._turns[-1]

    def _finished(self, question: Question, reply: Reply) -> Generator[Turn, None, None]:
        """The turn, and only then what went wrong with storing it: the reply is there either way."""
        failure: ShammahError | None = None
        try:
            self.finish(question, reply)
        except ShammahError as error:
            failure = error
        yield self._turns[-1]
        if failure is not None:
            raise failure

    def store(self) -> None:
        """Store what is not stored yet. A turn that could not be, because the database was held or the disk full, stays
        in the conversation and is stored with the next one."""
        if self._conversations is None:
            self._unstored.clear()
            return
        while self._unstored:
            turn, title = self._unstored[0]
            stored = self._conversations.add(turn, title=title)
            del self._unstored[0]
            # What cannot be written as it is, such as half of a surrogate pair, is from now on what was written.
            self._turns = [stored if turn.id == stored.id else turn for turn in self._turns]

    def _torn(self, said: Sequence[Piece], input_tokens: int, milliseconds: float) -> Reply:
        """The reply as far as it was shown, when the step that was under way had to be given up."""
        texts = {kind: "".join(piece.text for piece in said if piece.kind == kind) for kind in ("reply", "reasoning")}
        return Reply(
            text=texts["reply"],
            reasoning=texts["reasoning"],
            stop_reason="cancelled",
            input_tokens=input_tokens,
            cached_tokens=0,
            output_tokens=self._model.count("".join(texts.values())),
            first_token_ms=milliseconds,
            duration_ms=milliseconds,
        )


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


def title_of(text: str, width: int = 60) -> str:
    """The first words of a conversation, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def _dropped_words(dropped: int, window: int) -> str:
    turns = "turn has" if dropped == 1 else f"{dropped} turns have"
    return f"The context window of {window:,} tokens is full: the oldest {turns} left it. /clear starts afresh."
