"""From tokens to text that is safe to print: whole characters, stop texts cut off, reasoning kept apart. Pure.

Tokens split characters (an emoji may take four), and characters combine (an accent or a skin tone joins the one
before).
So the last character is always held back until the next one shows that it is complete.
"""

from collections.abc import Callable, Iterator, Sequence

from wcwidth import iter_graphemes

from shammah.records import Piece

_UNFINISHED = "\ufffd"
# So many tokens before a seam show how the text goes on across it.
_SEAM = 16
_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"


class CharacterStream:
    """Token ids in, complete characters out."""

    def __init__(self, decode: Callable[[Sequence[int]], str], before: Sequence[int] = ()) -> None:
        """`before` are the ids that the first one goes on from, where the text does."""
        self._decode = decode
        self._ids = _from_a_whole_character(decode, before[-_SEAM:])
        # Only the last few tokens are decoded at each step; tokenizers need the ones before for their spaces.
        self._context = 0  # decode from here ...
        self._read = len(self._ids)  # ... and leave out what the ids up to here have given already
        self._held = ""

    def push(self, token: int) -> str:
        self._ids.append(token)
        new = self._new_text()
        if new is None or new.endswith(_UNFINISHED):
            return ""
        self._context, self._read = self._read, len(self._ids)
        text = self._held + new
        cut = _last_character(text)
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """The rest, without a character that never became complete."""
        text = self._held + (self._new_text() or "").rstrip(_UNFINISHED)
        self._held, self._context, self._read = "", len(self._ids), len(self._ids)
        return text

    def _new_text(self) -> str | None:
        before = self._decode(self._ids[self._context : self._read])
        now = self._decode(self._ids[self._context :])
        return now[len(before) :] if len(now) > len(before) else None


class StopTexts:
    """Text in, text out up to the first stop text; what might be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str], before: str = "") -> None:
        """`before` is text that was given already: a stop text may begin in it."""
        self._stops = [stop for stop in stops if stop]
        self._held = before[len(before) - self._beginning(before) :]
        self._given = len(self._held)  # so much of what is held back was given already
        self.found = False

    @property
    def overhang(self) -> int:
        """How many of the letters that were given before turned out to belong to a stop text."""
        return self._given if self.found else 0

    def push(self, text: str) -> str:
        if not self._stops or self.found:
            return "" if self.found else text
        text = self._held + text
        first = min((at for at in map(text.find, self._stops) if at >= 0), default=-1)
        if first >= 0:
            self.found, self._held = True, ""
            return self._new(text[:first])
        end = len(text) - self._beginning(text)
        self._held = text[end:]
        return self._new(text[:end])

    def flush(self) -> str:
        text, self._held = self._held, ""
        return self._new(text)

    def _beginning(self, text: str) -> int:
        """How many of its last letters may be the beginning of a stop text."""
        return max((_overlap(text, stop) for stop in self._stops), default=0)

    def _new(self, text: str) -> str:
        """Without what was given before."""
        new = text[self._given :]
        self._given = max(0, self._given - len(text))
        return new


class ReasoningSplitter:
    """Text in, pieces out: what stands in <think> at the start of a reply is reasoning, the rest is the reply."""

    def __init__(self, *, opened: bool = False, replying: bool = False) -> None:
        """`opened` where the prompt has begun the thought, `replying` where it has begun the reply."""
        self._state = "reply" if replying else "reasoning" if opened else "start"
        self._held = ""
        self._fresh = not replying  # white space at the start of a part is not worth a line

    def push(self, text: str) -> Iterator[Piece]:
        self._held += text
        if self._state == "start":
            begun = self._held.lstrip()
            if begun.startswith(_THINK_OPEN):
                self._state, self._held = "reasoning", begun[len(_THINK_OPEN) :]
            elif not _THINK_OPEN.startswith(begun):
                self._state = "reply"
                # White space before an ordinary reply is the model's own.
                self._fresh = False
        if self._state == "reasoning":
            yield from self._reason()
        if self._state == "reply" and self._held:
            yield from self._give("reply", len(self._held))

    def flush(self) -> Iterator[Piece]:
        if self._held:
            yield from self._give("reasoning" if self._state == "reasoning" else "reply", len(self._held))

    def _reason(self) -> Iterator[Piece]:
        end = self._held.find(_THINK_CLOSE)
        if end < 0:
            yield from self._give("reasoning", len(self._held) - _overlap(self._held, _THINK_CLOSE))
            return
        yield from self._give("reasoning", end)
        self._held = self._held[len(_THINK_CLOSE) :]
        self._state, self._fresh = "reply", True

    def _give(self, kind: str, length: int) -> Iterator[Piece]:
        text, self._held = self._held[:length], self._held[length:]
        if self._fresh:
            text = text.lstrip()
        if text:
            self._fresh = False
            yield Piece("reasoning" if kind == "reasoning" else "reply", text)


def _from_a_whole_character(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> list[int]:
    """Ids without those at the beginning that are only a part of a character."""
    kept = list(ids)
    while kept and decode(kept).startswith(_UNFINISHED):
        del kept[0]
    return kept


def _last_character(text: str) -> int:
    """Where the last user-perceived character of the text begins."""
    *_, last = iter_graphemes(text) if text else ("",)
    return len(text) - len(last)


def _overlap(text: str, wanted: str) -> int:
    """How many of the text's last characters could be the beginning of `wanted`."""
    for length in range(min(len(text), len(wanted) - 1), 0, -1):
        if text.endswith(wanted[:length]):
            return length
    return 0
