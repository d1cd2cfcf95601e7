"""A reply that was stopped and is gone on with: what the model is given, what comes of it, the seam between both."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.networks import SPECIAL, ascii_text, save_chat_model
from support.reasoning import TEMPLATES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import float32
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from shammah.config import GenerationSettings
from shammah.model.chat_format import ChatFormat
from shammah.model.chat_model import ChatModel
from shammah.model.device import Compute
from shammah.model.generation import ReplyText, Speech
from shammah.model.loading import load
from shammah.model.text_stream import CharacterStream, StopTexts
from shammah.records import Begun, Message, Piece, Reply

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASKED = [Message("user", "Tell me.")]
GREEDY = GenerationSettings(temperature=0, max_tokens=40, stop_loops=False)


def ascii_model(folder: Path, merges: Sequence[tuple[str, str]] = ()) -> Path:
    """A tiny chat model whose every token is a letter that can be read again, or two of them."""
    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    tokens = [*SPECIAL, *letters, *(one + other for one, other in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    sizes = {"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 512, "initializer_range": 0.3}
    return save_chat_model(folder, tokenizer, CHATML, float32, **sizes)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> ChatModel:
    folder = ascii_model(tmp_path_factory.mktemp("ascii") / "model")
    return ChatModel("ascii", load(folder, Compute("cpu", "float32", 1, "", {})))


def said(model: ChatModel, tokens: int, begun: Begun | None = None, **changes: object) -> tuple[list[str], Reply]:
    settings = GenerationSettings(**{"temperature": 0, "stop_loops": False, "max_tokens": tokens, **changes})  # type: ignore[arg-type]
    *pieces, reply = model.reply(model.encode(ASKED, begun), settings, begun=begun)
    assert isinstance(reply, Reply)
    return [piece.text for piece in pieces if isinstance(piece, Piece)], reply


@pytest.mark.parametrize("tokens", [1, 7, 39])
def test_stopped_and_gone_on_with_it_is_the_uninterrupted_reply(chat: ChatModel, tokens: int) -> None:
    _, whole = said(chat, 40)
    assert whole.stop_reason == "length" and whole.output_tokens == 40
    _, part = said(chat, tokens)
    pieces, rest = said(chat, 40 - tokens, Begun(part.text))
    assert rest.text == whole.text
    assert part.text + "".join(pieces) == whole.text, "only what is new is shown"
    assert rest.cached_tokens == rest.input_tokens - 1, "nothing is computed a second time but the last token"
    assert rest.output_tokens == 40 - tokens


def test_a_penalty_for_repeating_knows_what_was_said_before(chat: ChatModel) -> None:
    _, whole = said(chat, 24, repetition_penalty=1.3)
    _, part = said(chat, 10, repetition_penalty=1.3)
    assert said(chat, 14, Begun(part.text), repetition_penalty=1.3)[1].text == whole.text


def test_the_seam_is_tokenized_as_the_whole_text_is(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ascii_model(tmp_path / "model", [("h", "e"), ("t", "he"), ("Ċ", "W")]))
    written = ChatFormat(tokenizer)
    prompt = written.render(ASKED)
    for text in ("the", "th", " the ", "Well, the", "\n"):
        assert written.encode(ASKED, Begun(text)) == written.tokens(prompt + text)
    # The prompt ends with a line end, which the reply's first letter joins.
    assert written.encode(ASKED, Begun("We"))[: len(written.encode(ASKED))] != written.encode(ASKED)
    assert written.decode(written.encode(ASKED, Begun("the"))[-1:]) == "the"


@pytest.mark.parametrize(
    ("template", "begun", "expected"),
    [
        ("leads", Begun("Yes"), "assistant\nYes"),
        ("leads", Begun("Yes", "Hm."), "assistant\n<think>\nHm.\n</think>\n\nYes"),
        ("switch", Begun("Yes", "Hm."), "assistant\n<think>\nHm.\n</think>\n\nYes"),
        ("opens", Begun("Yes", "Hm."), "assistant\n<think>\nHm.\n</think>\n\nYes"),
        ("opens", Begun("Yes"), "assistant\n<think>\n\n</think>\n\nYes"),
    ],
)
def test_a_thought_stands_before_the_reply_as_it_came(
    tiny_model: Path, template: str, begun: Begun, expected: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = TEMPLATES[template]
    assert tokenizer.decode(ChatFormat(tokenizer).encode(ASKED, begun)).endswith(expected)


def test_where_thinking_is_off_no_thought_is_added(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = TEMPLATES["leads"]
    whole = tokenizer.decode(ChatFormat(tokenizer, thinking=False).encode(ASKED, Begun("Yes")))
    assert whole.endswith("</think>\n\nYes") and whole.count("<think>") == 1


def test_a_model_without_a_template_goes_on_right_behind_its_own_words(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    plain = ChatFormat(tokenizer)
    assert tokenizer.decode(plain.encode(ASKED, Begun(" Yes"))).endswith("Assistant: Yes")
    assert tokenizer.decode(plain.encode(ASKED, Begun("Yes"))).endswith("Assistant:Yes")


def test_a_first_blank_that_the_tokenizer_drops_is_put_back_where_the_template_has_one() -> None:
    tokens = {token: at for at, token in enumerate([*SPECIAL, "▁", *map(chr, range(33, 127))])}
    made = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    spaced = "{% for m in messages %}{{ '[' if m['role'] == 'user' else ' ' }}{{ m['content'] }}]{% endfor %}"
    for template, expected in ((spaced, "[Tell me.]▁Yes"), (spaced.replace("' '", "''"), "[Tell me.]Yes")):
        tokenizer.chat_template = template
        ids = ChatFormat(tokenizer).encode(ASKED, Begun("Yes"))
        assert "".join(tokenizer.convert_ids_to_tokens(ids)).removeprefix("▁").replace("▁me", " me") == expected


# What comes of the tokens


def grown(begun: str, new: str, *stops: str) -> tuple[str, str]:
    """What is shown of a reply that is gone on with, and the whole text of it."""
    text = ReplyText(
        Speech(ascii_text, frozenset(), 100),
        GenerationSettings(stop=stops),
        begun=begun,
        prompt=[*map(ord, "?" + begun)],
    )
    shown = [piece.text for letter in new for piece in text.push(ord(letter))]
    shown += [piece.text for piece in text.flush()]
    return "".join(shown), text.text("reply")


@pytest.mark.parametrize(
    ("begun", "new"),
    [("One", " two"), ("One ", "two"), ("One\n", "\n\ntwo"), ("One", "  "), ("One", "<think>two"), ("One", "")],
)
def test_no_blank_is_lost_or_doubled_and_nothing_is_taken_for_a_thought(begun: str, new: str) -> None:
    assert grown(begun, new) == (new, begun + new)


def test_a_stop_text_is_found_across_the_seam() -> None:
    assert grown("Hi\nUs", "er: and", "\nUser:") == ("", "Hi")
    assert grown("Hi\nUs", "ual", "\nUser:") == ("ual", "Hi\nUsual")
    assert grown("Hi\nU", "s\nUser: x", "\nUser:") == ("s", "Hi\nUs")
    assert grown("Hi\nUs", "", "\nUser:") == ("", "Hi\nUs")
    assert grown("aab", "aabc!", "aabaabc") == ("", "")
    assert grown("x aab", "xy", "aabaabc", "by") == ("xy", "x aabxy")


def test_what_was_given_is_not_given_again() -> None:
    stops = StopTexts(["</s>"], "end<")
    assert [stops.push(text) for text in ("/", "s", "x")] == ["", "", "/sx"]
    assert stops.overhang == 0 and not stops.found


def test_a_tokenizer_that_drops_a_first_blank_loses_none_at_the_seam() -> None:
    words = ["▁One", "▁two", "▁three"]

    def decode(ids: Sequence[int]) -> str:
        return "".join(words[at] for at in ids).replace("▁", " ").removeprefix(" ")

    stream = CharacterStream(decode, [0])
    assert stream.push(1) + stream.push(2) + stream.flush() == " two three"


def test_a_reply_that_is_begun_knows_the_words_before_its_own() -> None:
    words = ["▁One", "▁two", "▁three"]
    text = ReplyText(
        Speech(lambda ids: "".join(words[at] for at in ids).replace("▁", " ").removeprefix(" "), frozenset(), 100),
        GenerationSettings(),
        begun="One",
        prompt=[0],
    )
    shown = [piece.text for at in (1, 2) for piece in text.push(at)] + [piece.text for piece in text.flush()]
    assert ("".join(shown), text.text("reply")) == (" two three", "One two three")


def test_ids_before_the_seam_may_begin_within_a_character() -> None:
    letters = "🙂🙂🙂🙂🙂".encode()

    def decode(ids: Sequence[int]) -> str:
        # As tokenizers do that fall back to bytes: a run of them that is no text is none at all.
        data = bytes(letters[at] for at in ids)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "\ufffd" * len(data)

    stream = CharacterStream(decode, range(1, 16))
    assert "".join(stream.push(at) for at in range(16, 20)) + stream.flush() == "🙂"
