"""Replies at three sizes of the terminal: all of their text, the keys meanwhile, a window that changes its size."""

import pytest
from scenarios.conftest import SIZES, packed

CTRL_C, ENTER = "\x03", "\r"
RICH = """Here is *all* of it:

```python
def greet(name: str) -> str:
    return f"Hello, {name}!"
```

| city | river | people |
| --- | --- | --- |
| Wien | Donau | 2 million |
| 東京 | 隅田川 | 14 million |

1. a first point with **weight**
2. a second point 🙂 with an emoji 👩‍🚀

> a quotation

That is the end."""
# What has to be on the screen of it, whatever becomes of its marks.
WORDS = (
    "all", "def greet(name: str) -> str:", 'return f"Hello, {name}!"', "city", "river", "Wien", "Donau", "2 million",
    "東京", "隅田川", "a first point with", "weight", "a second point 🙂 with an emoji", "a quotation",
    "That is the end.",
)  # fmt: skip
SLOW = " ".join(f"word{number}" for number in range(60))


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def shared(chats, request):
    columns, rows = request.param
    answers = {"rich": RICH, "slow": SLOW, "colour": "Blue.", "enormous": "x" * 300 + " and the end."}
    return chats(answers, columns=columns, rows=rows, TALKER_PAUSE="0.01")


@pytest.fixture
def chat(shared, request):
    columns, rows = request.node.callspec.params["shared"]
    if (shared.screen.columns, shared.screen.lines) != (columns, rows):
        shared.resize(columns, rows)
    return shared.begin()


def test_the_first_prompt_stands_below_a_short_banner(chat):
    lines = [line for line in chat.text().splitlines() if line.strip()]
    first = next(place for place, line in enumerate(lines) if line.startswith(">"))
    assert first <= 4 and "Shammah" in lines[0]


def test_code_a_table_cjk_and_emoji_are_all_there(chat):
    said = packed(chat.enter("something rich", "That is the end."))
    assert [words for words in WORDS if packed(words) not in said] == []
    shown = packed(chat.text())
    assert shown.count(packed("That is the end.")) == 1 and shown.count("Donau") == 1, "nothing is shown twice"
    assert chat.turns()[-1].response == RICH


def test_a_word_that_no_line_holds(chat):
    chat.enter("something enormous", "and the end.")
    assert packed(chat.text()).count("x" * 300) == 1


def test_a_window_that_changes_its_size_during_a_reply(chat):
    columns, rows = chat.screen.columns, chat.screen.lines
    chat.send("something slow" + ENTER)
    chat.wait(lambda t: "word10" in packed(t.said()))
    chat.resize(columns - 10, rows - 2)
    chat.wait(lambda t: "word30" in packed(t.said()))
    chat.resize(columns, rows)
    said = packed(chat.until("word59"))
    assert all(f"word{number}" in said for number in range(60))
    assert chat.turns()[-1].response == SLOW
    chat.enter("a colour", "Blue.")


def test_ctrl_c_stops_a_reply_and_keeps_what_was_said(chat):
    chat.send("something slow" + ENTER)
    chat.wait(lambda t: "word5" in packed(t.said()))
    chat.send(CTRL_C)
    chat.until("the reply so far is kept")
    kept = chat.turns()[-1]
    assert kept.stop_reason == "cancelled" and SLOW.startswith(kept.response) and kept.response != SLOW


def test_what_is_typed_during_a_reply_is_the_next_message(chat):
    chat.send("something slow" + ENTER)
    chat.wait(lambda t: "word5" in packed(t.said()))
    chat.send("a colour" + ENTER)
    said = packed(chat.until("word59", "Blue."))
    assert said.index("acolour⏎") < said.index("word59") < said.rindex(">acolour") < said.index("Blue.")
    assert [turn.query for turn in chat.turns()[-2:]] == ["something slow", "a colour"]


def test_a_half_line_typed_during_a_reply_waits_at_the_prompt(chat):
    chat.send("something slow" + ENTER)
    chat.wait(lambda t: "word5" in packed(t.said()))
    chat.send("half a")
    chat.until("word59", prompt="> half a")
    chat.enter(" colour", "Blue.")
