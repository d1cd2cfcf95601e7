"""From messages and a reply to a row: the prompt byte for byte as the chat would have sent it, the reply, its end."""

from collections.abc import Callable, Collection, Sequence

from shammah.model.chat_format import ChatFormat
from shammah.records import Message
from shammah.training.packing import Kind, Row


class Encoder:
    def __init__(
        self,
        format: ChatFormat,
        end_tokens: Collection[int],
        *,
        longest: int,
        courtesy: Callable[[], None] = lambda: None,
    ) -> None:
        """`courtesy` comes before each row: thousands of them take seconds, and the template is Python."""
        self._format = format
        self._longest = longest
        self._courtesy = courtesy
        self._lead, after = format.around_a_reply
        ends = [token for token in format.tokens(after) if token in end_tokens]
        self._end = ends[0] if ends else min(end_tokens)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        return self._format.encode(messages)

    def row(
        self,
        messages: Sequence[Message],
        reply: str,
        *,
        kind: Kind = "lesson",
        weight: float = 1.0,
        source: str = "",
        ended: bool = True,
        most: int | None = None,
        rejected: str | None = None,
    ) -> Row | None:
        """The row, or None where it is too long or has nothing to learn. `most` tokens of the reply are kept,
        beside the thought that it comes without."""
        self._courtesy()
        prompt = self.prompt(messages)
        said = self._format.tokens(self._lead + reply) + ([self._end] if ended else [])
        if most is not None:
            said = said[: most + len(self._format.tokens(self._format.thought))]
        if not said or len(prompt) < 1 or len(prompt) + len(said) > self._longest:
            return None
        against = None if rejected is None else self.row(messages, rejected, kind=kind, source=source)
        ids = (*prompt, *said)
        return Row(ids=ids, start=len(prompt), weight=weight, kind=kind, source=source, rejected=against)
