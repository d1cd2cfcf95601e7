import json

import pytest

from shammah.training.anchor_book import AnchorBook
from shammah.training.anchors import PROMPTS
from shammah.training.planning import BaseReply

HASH = "a" * 64


class Base:
    def __init__(self):
        self.asked = []

    def __call__(self, prompts):
        self.asked.append(list(prompts))
        return [BaseReply(prompt, f"Of {prompt}", len(prompt) % 2 == 0) for prompt in prompts]


@pytest.fixture
def base():
    return Base()


@pytest.fixture
def book(tmp_path, base):
    return AnchorBook(tmp_path / "anchors", HASH, base)


def test_sixty_four_prompts_of_ours():
    assert len(set(PROMPTS)) == len(PROMPTS) == 64


def test_our_own_are_asked_once(tmp_path, book, base):
    first = book.replies(PROMPTS[:4])
    assert [reply.prompt for reply in first] == list(PROMPTS[:4])
    again = AnchorBook(tmp_path / "anchors", HASH, base)
    assert again.replies(PROMPTS[3::-1]) == first[::-1]
    assert again.replies(PROMPTS[2:6])[:2] == first[2:]
    assert base.asked == [list(PROMPTS[:4]), list(PROMPTS[4:6])]


def test_those_of_the_user_are_asked_anew_and_never_written(tmp_path, book, base):
    near = "What is the name of our garden?"
    book.replies([PROMPTS[0], near])
    book.replies([near, PROMPTS[0], near])
    assert base.asked == [[PROMPTS[0]], [near], [near]], "alone both times: others beside them may change a token"
    assert "garden" not in "".join(path.read_text() for path in (tmp_path / "anchors").iterdir())


def test_where_only_the_users_are_asked_nothing_is_written(tmp_path, book):
    book.replies(["What is ours?"])
    assert not (tmp_path / "anchors").exists()


def test_another_model_has_a_book_of_its_own(tmp_path, book, base):
    book.replies(PROMPTS[:1])
    AnchorBook(tmp_path / "anchors", "b" * 64, base).replies(PROMPTS[:1])
    assert len(base.asked) == 2 and len(list((tmp_path / "anchors").iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"a": 1}', "null", '[["x", "y", true]]'])
def test_a_damaged_book_is_asked_anew(tmp_path, book, base, content):
    first = book.replies(PROMPTS[:2])
    (file,) = (tmp_path / "anchors").iterdir()
    file.write_text(content)
    assert book.replies(PROMPTS[:2]) == first and len(base.asked) == 2
    assert len(json.loads(file.read_text())) == 2


def test_without_room_to_write_it_is_asked_every_time(tmp_path, base):
    (tmp_path / "file").write_text("")
    book = AnchorBook(tmp_path / "file" / "anchors", HASH, base)
    assert book.replies(PROMPTS[:1]) == book.replies(PROMPTS[:1]) and len(base.asked) == 2
