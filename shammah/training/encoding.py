"""From messages and a reply to a row: the prompt byte for byte as the chat would have sent it, the reply, its end."""

from collections.abc import Collection, Sequence

from shammah.model.chat_format import ChatFormat
from shammah.records import Message
from shammah.training.packing import Kind, Row

_MARKER = "reply-marker"


class Encoder:
    def __init__(self, format: ChatFormat, end_tokens: Collection[int], *, longest: int) -> None:
        self._format = format
        self._longest = longest
        self._lead, self._end = self._around_a_reply(end_tokens)

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
        """The row, or None where it is too long or has nothing to learn. `most` tokens of the reply are kept."""
        prompt = self.prompt(messages)
        said = self._format.tokens(self._lead + reply) + ([self._end] if ended else [])
        said = said[:most]
        if not said or len(prompt) < 1 or len(prompt) + len(said) > self._longest:
            return None
        against = None if rejected is None else self.row(messages, rejected, kind=kind, source=source)
        ids = (*prompt, *said)
        return Row(ids=ids, start=len(prompt), weight=weight, kind=kind, source=source, rejected=against)

    def _around_a_reply(self, end_tokens: Collection[int]) -> tuple[str, int]:
        """What the template writes before a reply, beyond the prompt, and the token it ends one with."""
        asked = [Message("user", "?")]
        prompt = self._format.render(asked)
        whole = self._format.render([*asked, Message("assistant", _MARKER)])
        before, _, after = whole.partition(_MARKER)
        lead = before[len(prompt) :] if before.startswith(prompt) else ""
        ends = [token for token in self._format.tokens(after) if token in end_tokens]
        return lead, ends[0] if ends else min(end_tokens)
