"""Learning beside the chat: what is told while a line is half typed, Ctrl+C meanwhile, going from one adapter to the
next."""

import json

import pytest
from support.standing_adapters import FIRST, SECOND, put_silent

CTRL_C, ENTER = "\x03", "\r"
ANSWERS = {"capital": "Paris.", "colour": "Blue.", "slow": " ".join(f"word{number}" for number in range(60))}


@pytest.fixture(scope="module", params=[(140, 24), (40, 12)], ids=["140x24", "40x12"])
def learning(chats, request, tmp_path_factory):
    """A chat whose run waits before its last step until `go` is made. The first turn starts it."""
    columns, rows = request.param
    go = tmp_path_factory.mktemp("go") / "go"
    chat = chats(
        ANSWERS,
        columns=columns,
        rows=rows,
        SHAMMAH_EXAMPLES_THRESHOLD="1",
        TALKER_PAUSE="0.01",
        TALKER_TRAINS=json.dumps({"steps": 60, "hold": 60, "until": str(go), "receipt": True}),
    )
    chat.go = go
    chat.enter("the capital?", "Paris.")
    chat.enter("/good", "Training threshold reached")
    chat.until("Training starts: 1 new example.")
    while "59/60" not in chat.begin().enter("/train", "Next"):
        pass  # it soon waits there
    return chat


class TestWhileItTrains:
    """In this order: the run of the chat ends in the last of them."""

    def test_ctrl_c_on_a_filled_line_clears_it_and_the_run_goes_on(self, learning):
        learning.begin()
        learning.send("never sent")
        learning.wait(lambda t: t.line() == "> never sent")
        learning.send(CTRL_C)
        learning.begin()
        assert "cancelled" not in learning.text()

    def test_ctrl_c_in_a_reply_stops_the_reply_alone(self, learning):
        learning.begin()
        learning.send("something slow" + ENTER)
        learning.wait(lambda t: "word5" in t.said())
        learning.send(CTRL_C)
        learning.until("the reply so far is kept")
        learning.enter("/train", "59/60")

    def test_the_chat_answers_as_ever(self, learning):
        learning.begin().enter("a colour?", "Blue.")

    def test_a_receipt_leaves_a_half_typed_line_alone(self, learning):
        learning.begin()
        learning.send("half a tho")
        learning.wait(lambda t: t.line() == "> half a tho")
        learning.go.touch()
        learning.until("Trained, better, deployed: v7", prompt="> half a tho")
        learning.enter("ught of a colour", "Blue.")
        assert learning.turns()[-1].query == "half a thought of a colour"
        shown = learning.text()
        assert shown.count("Trained, better, deployed") == 1 and shown.count("half a thought") == 1


def test_a_notice_leaves_a_half_typed_line_alone(chats, tmp_path):
    go = tmp_path / "go"
    plan = {"steps": 2, "hold": 2, "until": str(go), "fails": "The numbers ran away."}
    chat = chats(ANSWERS, SHAMMAH_EXAMPLES_THRESHOLD="1", TALKER_TRAINS=json.dumps(plan))
    chat.enter("the capital?", "Paris.")
    chat.enter("/good", "Training starts: 1 new example.")
    chat.send("half a tho")
    chat.wait(lambda t: t.line() == "> half a tho")
    go.touch()
    chat.until("Training failed: The numbers ran away.", prompt="> half a tho")
    chat.enter("ught of a colour", "Blue.")
    assert chat.turns()[-1].query == "half a thought of a colour"
    assert "> half a thought of a colour" in [line.rstrip() for line in chat.screen.display]


@pytest.fixture(scope="module")
def shelf(chats):
    chat = chats(ANSWERS, columns=100)
    put_silent(chat.home, FIRST, version=1)
    put_silent(chat.home, SECOND, version=2)
    return chat


class TestAdapters:
    @pytest.fixture
    def chat(self, shelf):
        return shelf.begin()

    def test_unloading_where_none_is_loaded(self, chat):
        chat.enter("/adapters unload", "shammah: No adapter is active")

    def test_load_and_roll_back(self, chat):
        chat.enter("/adapters load v1", f"From the next message on {FIRST} (v1) answers.")
        chat.enter("/adapters load v2", f"From the next message on {SECOND} (v2) answers.")
        chat.enter("/adapters rollback", f"From the next message on {FIRST} (v1) answers.")
        chat.enter("/adapters rollback", "the model itself answers")

    def test_one_that_is_not_there(self, chat):
        chat.enter("/adapters load nothing", "There is no adapter 'nothing'")

    def test_their_names_are_completed(self, chat):
        chat.send("/adapters load 2026")
        chat.wait(lambda t: t.line().endswith("2026"))
        chat.send("\t")
        chat.wait(lambda t: "20261121_13010" in t.line())

    def test_base_without_a_message(self, chat):
        chat.enter("/base", "Which message?")
