"""Conversations by what they are called: naming one, finding one."""

import pytest

from shammah.errors import StoreError, UsageError
from shammah.store.erasing import remove_turns
from shammah.store.titles import LONGEST, Titles


@pytest.fixture
def titles(database):
    return Titles(database)


@pytest.fixture
def three(say):
    """Of three days, the last of which is the newest; each of one turn."""
    for day, (id, title, query) in enumerate(
        [("abc1", "Bread", "How is bread baked?"), ("abc2", "Cake", "Is it SWEET?"), ("xyz", "Cake", "Crème brûlée?")],
        1,
    ):
        say(query, conversation_id=id, title=title, time=f"2026-01-0{day}T00:00:00.000Z")


def ids(found):
    return [one.id for one in found]


class TestFinding:
    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("Bread", ["abc1"]),
            ("  bREAD ", ["abc1"]),
            ("cake", ["xyz", "abc2"]),
            ("abc", ["abc2", "abc1"]),
            ("abc1", ["abc1"]),
            ("latest", ["xyz"]),
            ("Brea", []),
            ("", []),
            ("\udcff", []),
        ],
    )
    def test_by_title_then_by_id_newest_first(self, titles, three, name, found):
        assert ids(titles.meant_by(name)) == found

    def test_one_is_meant_or_it_is_said_which_there_are(self, titles, three):
        assert titles.find("bread").id == "abc1"
        with pytest.raises(StoreError, match="2 conversations are meant by 'cake'") as caught:
            titles.find("cake")
        assert "xyz" in caught.value.hint and "abc2" in caught.value.hint
        with pytest.raises(StoreError, match="There is no conversation 'pie'") as caught:
            titles.find("pie")
        assert "/sessions" in caught.value.hint and "shammah logs sessions" in caught.value.hint

    def test_a_whole_id_goes_before_those_that_begin_so(self, titles, three, say):
        say(conversation_id="abc")
        assert titles.find("abc").id == "abc"

    def test_a_name_goes_before_an_id(self, titles, three, say):
        titles.rename("abc1", "xyz")
        assert titles.find("xyz").id == "abc1"

    def test_the_latest_of_none(self, titles):
        with pytest.raises(StoreError, match="There is no conversation yet") as caught:
            titles.find("latest")
        assert "`shammah`" in caught.value.hint


class TestSearching:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("", ["xyz", "abc2", "abc1"]),
            ("bread", ["abc1"]),
            ("bake", ["abc1"]),  # begun
            ("cake", ["xyz", "abc2"]),  # in titles alone
            ("sweet", ["abc2"]),
            ("CREME", ["xyz"]),
            ("creme brulee", ["xyz"]),
            ('"is bread"', ["abc1"]),
            ('"bread is"', []),
            ('"', []),
            ("pie", []),
        ],
    )
    def test_in_titles_and_turns_newest_first(self, titles, three, text, found):
        assert ids(titles.search(text)) == found

    @pytest.mark.parametrize(
        ("name", "text", "held"),
        [
            ("Über-Plan (alt)", "uber plan", True),
            ("Über-Plan (alt)", "pla", True),
            ("Über-Plan (alt)", '"pla"', False),
            ("Über-Plan (alt)", "plan uber", True),
            ("Über-Plan (alt)", '"plan uber"', False),
            ("Über-Plan (alt)", "lan", False),
            ("\u6771\u4eac trip", "\u4eac", True),
            ("\u6771\u4eac trip", "\u4eac trips", False),
            ("100% sure \U0001f389", "\U0001f389", True),
            ("100% sure \U0001f389", "100% su", True),
        ],
    )
    def test_a_name_is_found_by_the_same_idea_of_words_as_a_turn(self, titles, conversations, say, name, text, held):
        turn = say(name, title="x")
        assert bool(conversations.search(text)) == held
        conversations.delete_conversation(turn.conversation_id)
        titles.rename(say("Something else").conversation_id, name)
        assert bool(titles.search(text)) == held

    def test_no_more_than_asked_for(self, titles, three):
        assert ids(titles.search("cake", limit=1)) == ["xyz"]
        assert ids(titles.search("", limit=None)) == ["xyz", "abc2", "abc1"]

    def test_the_index_leads(self, titles, database, three):
        """However many turns there are: no text is read to find a word."""
        said = []
        database.connection.set_trace_callback(said.append)
        titles.search("bread")
        database.connection.set_trace_callback(None)
        (asked,) = [sql for sql in said if "turns_found MATCH" in sql]
        plan = [row["detail"] for row in database.rows("EXPLAIN QUERY PLAN " + asked)]
        assert any("turns_found VIRTUAL TABLE INDEX" in step for step in plan)
        assert not any(step == "SCAN turns" for step in plan), plan


class TestNaming:
    def test_a_name_stays_whatever_is_said_after_it(self, titles, three, say):
        assert titles.rename("abc1", "  My\n bread ").title == "My bread"
        say("And now?", conversation_id="abc1", title="And now?")
        assert titles.find("my bread").turns == 2

    def test_a_name_that_another_has_is_refused(self, titles, three):
        with pytest.raises(UsageError, match="Another conversation is called 'BREAD' already") as caught:
            titles.rename("xyz", "BREAD")
        assert "abc1" in caught.value.hint
        assert titles.find("xyz").title == "Cake"
        assert titles.rename("abc1", "BREAD").title == "BREAD", "its own name in other letters"

    @pytest.mark.parametrize("name", ["", " \n", "7", "latest", "Latest", "x" * (LONGEST + 1), "a\x1b[31m"])
    def test_what_is_no_name(self, titles, three, name):
        with pytest.raises(UsageError):
            titles.rename("abc1", name)
        assert titles.find("abc1").title == "Bread"

    @pytest.mark.parametrize("name", ["\u6771\u4eac", "\U0001f468\u200d\U0001f469", "7 things", "x" * LONGEST, "#2"])
    def test_what_is_one(self, titles, three, name):
        assert titles.rename("abc1", name).title == name

    def test_a_conversation_that_is_gone(self, titles, three):
        with pytest.raises(StoreError, match="There is no conversation 'gone'"):
            titles.rename("gone", "Name")


class TestVariants:
    def texts(self, turns):
        return [turn.response for turn in turns]

    def test_the_replies_to_one_question_at_one_place(self, conversations, say):
        say("First", "1", id="1")
        for number, retry_of in enumerate((None, "a0", "a0", "a2")):
            say("Second", f"2.{number}", id=f"a{number}", parent="1", retry_of=retry_of)
        say("Second", "elsewhere", id="b", parent="a0")
        say("Other", "other", id="c", parent="1")
        say("Second", "of another", id="d", parent="1", conversation_id="other")
        for id in ("a0", "a2", "a3"):
            assert self.texts(conversations.variants(conversations.turn(id))) == ["2.0", "2.1", "2.2", "2.3"]
        assert self.texts(conversations.variants(conversations.turn("1"))) == ["1"]

    def test_one_that_was_gone_on_with_and_one_that_says_nothing_are_left_out(self, conversations, say, a_turn):
        say("Ask", "One", id="1")
        say("Ask", "", id="2")
        say("Ask", "One two", id="3", continues="1")
        say("Ask", "One two three", id="4", continues="3")
        assert self.texts(conversations.variants(conversations.turn("4"))) == ["One two three"]
        assert self.texts(conversations.variants(conversations.turn("2"))) == ["", "One two three"]
        assert self.texts(conversations.variants(conversations.turn("1"))) == ["One", "One two three"]
        assert conversations.variants(a_turn("Ask")) == [], "one that is not there"

    def test_a_turn_with_what_it_goes_on_with(self, conversations, say, database):
        say(id="1")
        say(id="2", continues="1")
        say(id="3", continues="2")
        say(id="4", continues="gone")
        whole = conversations.with_beginnings
        assert [turn.id for turn in whole("3")] == ["3", "2", "1"]
        assert [turn.id for turn in whole("4")] == ["4"]
        remove_turns(database, ["2"])
        assert [turn.id for turn in whole("3")] == ["3", "1"]
