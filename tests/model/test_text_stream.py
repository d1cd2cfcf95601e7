"""Streamed text: whole characters only, stop texts cut, reasoning apart, whatever way the tokens split it."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import iter_graphemes

from shammah.model.text_stream import CharacterStream, ReasoningSplitter, StopTexts
from shammah.records import Piece

FAMILY = "👨‍👩‍👧‍👦"
CHARACTERS = {
    "emoji": "🙂",
    "ZWJ family": FAMILY,
    "skin tone": "👍🏽",
    "flag": "🇪🇪",
    "keycap": "1️⃣",
    "combining accent": "e\u0301",
    "stacked accents": "o\u0302\u0301\u0323",
    "Hangul jamo": "\u1112\u1161\u11ab",
    "CJK": "漢",
    "Devanagari conjunct": "क्षि",
    "Thai": "กำ",
    "Zalgo": "a" + "\u0300\u0301\u0302\u0303" * 40,
    "line end of two": "\r\n",
}


class Chunks:
    """A tokenizer whose tokens are these stretches of bytes: token n is the n-th of them."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = chunks

    @classmethod
    def of_bytes(cls, data: bytes) -> "Chunks":
        return cls([data[at : at + 1] for at in range(len(data))])

    @classmethod
    def cut(cls, data: bytes, cuts: Sequence[int]) -> "Chunks":
        edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        return cls([data[start:end] for start, end in pairwise(edges)])

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self._chunks[id] for id in ids).decode(errors="replace")

    def streamed(self) -> list[str]:
        """What comes out at each token, and last what the flush gives."""
        stream = CharacterStream(self.decode)
        return [*(stream.push(id) for id in range(len(self._chunks))), stream.flush()]


@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_a_character_comes_out_whole_after_its_last_byte(character: str) -> None:
    pieces = Chunks.of_bytes(f"a{character}b".encode()).streamed()
    assert [piece for piece in pieces if piece] == ["a", character, "b"]
    # The character is held until "b" shows that it is complete: it comes with the last token.
    assert pieces[-2:] == [character, "b"]


def test_a_plain_letter_waits_for_the_next_one_only() -> None:
    assert Chunks.of_bytes(b"cat").streamed() == ["", "c", "a", "t"]


def test_flags_are_paired_from_the_first_one() -> None:
    pieces = Chunks.of_bytes("🇪🇪🇱🇻🇱🇹".encode()).streamed()
    assert [piece for piece in pieces if piece] == ["🇪🇪", "🇱🇻", "🇱🇹"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"ab\xffcd", "ab\ufffdcd"),
        (b"ab\xf0\x9fcd", "ab\ufffdcd"),
        (b"\xff\xfe\xffend", "\ufffd\ufffd\ufffdend"),
        ("a\ufffdb".encode(), "a\ufffdb"),
        ("\ufffd\u0301x".encode(), "\ufffd\u0301x"),
    ],
    ids=["one byte", "half an emoji", "three", "a real one", "a real one with an accent"],
)
def test_bytes_that_are_no_text_become_a_replacement_once_text_follows(data: bytes, text: str) -> None:
    assert "".join(Chunks.of_bytes(data).streamed()) == text


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_character_that_was_never_finished_is_left_out(kept: int) -> None:
    pieces = Chunks.of_bytes(b"so " + "🙂".encode()[:kept]).streamed()
    assert "".join(pieces) == "so "


def test_text_before_an_unfinished_character_in_the_same_token_is_not_lost() -> None:
    assert "".join(Chunks([b"x\xf0\x9f"]).streamed()) == "x"
    assert "".join(Chunks([b"x\xf0\x9f", b"\x99\x82y"]).streamed()) == "x🙂y"


def test_tokens_without_text_change_nothing() -> None:
    assert Chunks([b"", b"a", b"", b"b", b""]).streamed() == ["", "", "", "a", "", "b"]


def test_only_the_last_tokens_are_decoded_at_each_step() -> None:
    """A reply of thousands of tokens must not be decoded whole for every one of them."""
    lengths: list[int] = []

    def decode(ids: Sequence[int]) -> str:
        lengths.append(len(ids))
        return "x" * len(ids)

    stream = CharacterStream(decode)
    for token in range(300):
        stream.push(token)
    assert max(lengths) <= 2


def test_a_tokenizer_that_strips_the_first_space_keeps_those_between_words() -> None:
    """Tokenizers of the sentencepiece kind drop the space of whatever they decode first."""
    words = [" the", " cat", " sat"]
    stream = CharacterStream(lambda ids: "".join(words[id] for id in ids).removeprefix(" "))
    assert "".join([*map(stream.push, range(3)), stream.flush()]) == "the cat sat"


clusters = st.sampled_from(list(CHARACTERS.values()))
texts = st.lists(
    clusters | st.text(max_size=8) | st.text("🇪🇱👨\u200d🏽\u0301\u094d\u0915\u1112\u1161\r\n ", max_size=8)
).map("".join)
cuts = st.lists(st.integers(0, 10_000), max_size=60)


def assert_whole_characters(tokens: Chunks, whole: str) -> None:
    pieces = tokens.streamed()
    assert "".join(pieces) == whole
    ends = set(accumulate((len(cluster) for cluster in iter_graphemes(whole)), initial=0))
    assert set(accumulate(map(len, pieces))) <= ends


@given(texts, cuts)
def test_any_text_split_anywhere_comes_out_unchanged_in_whole_characters(text: str, cuts: list[int]) -> None:
    data = text.encode(errors="replace")
    # A real replacement character at the very end looks like an unfinished one, and is left out like it.
    assert_whole_characters(Chunks.cut(data, cuts), data.decode().rstrip("\ufffd"))


@given(texts)
def test_any_text_comes_out_unchanged_byte_by_byte(text: str) -> None:
    data = text.encode(errors="replace")
    assert_whole_characters(Chunks.of_bytes(data), data.decode().rstrip("\ufffd"))


@given(st.binary(max_size=60), cuts)
def test_any_bytes_come_out_as_they_decode(data: bytes, cuts: list[int]) -> None:
    assert_whole_characters(Chunks.cut(data, cuts), data.decode(errors="replace").rstrip("\ufffd"))


def through(stops: StopTexts, parts: Sequence[str]) -> list[str]:
    return [*map(stops.push, parts), stops.flush()]


def test_without_stops_text_goes_straight_through() -> None:
    assert through(StopTexts([]), ["a", "", "b"]) == ["a", "", "b", ""]
    assert through(StopTexts([""]), ["a", "b"]) == ["a", "b", ""]  # an empty stop would end every reply at once


def test_a_stop_split_over_tokens_is_held_back_and_cut_off() -> None:
    stops = StopTexts(["STOP"])
    assert through(stops, ["one S", "T", "OP two", " three"]) == ["one ", "", "", "", ""]
    assert stops.found


def test_text_held_for_a_stop_that_does_not_come_is_released() -> None:
    stops = StopTexts(["\nUser:"])
    assert through(stops, ["hi\nU", "se", "ful"]) == ["hi", "", "\nUseful", ""]
    assert through(stops, ["hi", "\nUser"]) == ["hi", "", "\nUser"]
    assert not stops.found


def test_the_earliest_stop_wins() -> None:
    assert "".join(through(StopTexts(["later", "now"]), ["right now or later"])) == "right "
    assert "".join(through(StopTexts(["bcd", "c"]), ["ab", "cd"])) == "a"
    assert "".join(through(StopTexts(["aab"]), ["a", "a", "a", "b"])) == "a"


@given(
    st.text("ab\n", max_size=40),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=4),
    st.lists(st.integers(0, 40), max_size=20),
)
def test_no_stop_is_shown_and_nothing_before_the_first_is_lost(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    parts = [text[start:end] for start, end in pairwise(edges)]
    found = StopTexts(stops)
    streamed = "".join(through(found, parts))
    starts = [at for stop in stops if (at := text.find(stop)) >= 0]
    ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
    assert found.found == bool(ends)
    assert text.startswith(streamed)
    assert not any(stop in streamed for stop in stops)
    # Two stops may overlap; which is met first depends on the tokens, but it is one of those two.
    assert min(starts, default=len(text)) <= len(streamed) < min(ends, default=len(text) + 1)


def split(parts: Sequence[str], *, opened: bool = False) -> tuple[str, str]:
    """(reasoning, reply) of a text that comes in these parts."""
    splitter = ReasoningSplitter(opened=opened)
    pieces = [piece for part in parts for piece in splitter.push(part)] + list(splitter.flush())
    assert all(piece.text for piece in pieces)
    return tuple("".join(piece.text for piece in pieces if piece.kind == kind) for kind in ("reasoning", "reply"))  # type: ignore[return-value]


WHOLE = "\n<think>\nLet me see.\n</think>\n\nIt is 4."


@pytest.mark.parametrize("size", range(1, len(WHOLE) + 1))
def test_reasoning_is_told_apart_wherever_its_tags_are_split(size: int) -> None:
    parts = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    assert split(parts) == ("Let me see.\n", "It is 4.")


@pytest.mark.parametrize("size", [1, 3, 100])
def test_reasoning_that_the_template_opened(size: int) -> None:
    text = "\nHm.</think>Yes."
    assert split([text[at : at + size] for at in range(0, len(text), size)], opened=True) == ("Hm.", "Yes.")


def test_reasoning_that_is_never_closed_is_no_reply() -> None:
    assert split(["<think>Round and round", " it goes</thi"]) == ("Round and round it goes</thi", "")


def test_reasoning_may_be_empty() -> None:
    assert split(["<think>\n\n</think>\n\nYes."]) == ("", "Yes.")


@pytest.mark.parametrize(
    "text",
    [
        "Use the <think> tag.",
        "a</think>b",
        "<thinking>no</thinking>",
        "<thin",
        "<",
        "  indented",
        "\tx\n\n",
        "x <think>y</think>",
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_a_tag_elsewhere_is_ordinary_text(text: str, size: int) -> None:
    assert split([text[at : at + size] for at in range(0, len(text), size)]) == ("", text)


def test_a_second_reasoning_is_ordinary_text() -> None:
    assert split(["<think>a</think>b<think>c</think>d"]) == ("a", "b<think>c</think>d")


def test_pieces_come_as_soon_as_they_can() -> None:
    splitter = ReasoningSplitter()
    assert list(splitter.push("<think>")) == []
    assert list(splitter.push("one <")) == [Piece("reasoning", "one ")]
    assert list(splitter.push("two")) == [Piece("reasoning", "<two")]
    assert list(splitter.push("</think> \n")) == []
    assert list(splitter.push("three")) == [Piece("reply", "three")]
    assert list(splitter.push(" ")) == [Piece("reply", " ")]
