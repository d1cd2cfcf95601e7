import itertools

import pytest

from shammah.errors import StoreError, UsageError
from shammah.store import Rules


@pytest.fixture
def rules(database):
    seconds = itertools.count()
    return Rules(database, now=lambda: f"2026-01-01T00:00:{next(seconds):02d}.000Z")


def texts(found):
    return [rule.text for rule in found]


def test_rules_stand_in_the_order_they_came(rules):
    assert rules.all() == rules.active() == []
    first = rules.add("  Answer in French\n", turn_id="turn")
    second = rules.add("Be brief")
    assert rules.all() == [first, second]
    assert (first.text, first.time, first.muted, first.turn_id) == (
        "Answer in French",
        "2026-01-01T00:00:00.000Z",
        False,
        "turn",
    )
    assert second.turn_id is None


def test_the_same_rule_again_is_renewed(rules):
    first = rules.add("Answer in French", turn_id="one")
    rules.add("Be brief")
    rules.mute(first.id)
    again = rules.add("answer  in FRENCH", turn_id="two")
    assert (again.id, again.text, again.muted) == (first.id, "answer  in FRENCH", False)
    assert rules.all() == rules.active() == [rules.get("1"), again]
    assert again.time > first.time


def test_a_rule_goes_with_the_last_turn_that_said_it(rules):
    rules.add("Answer in French", turn_id="one")
    rules.add("Answer in French", turn_id="two")
    assert rules.delete_of_turn("one") == 0
    assert rules.delete_of_turn("two") == 1
    assert rules.all() == []


def test_a_rule_given_by_hand_goes_with_no_turn(rules):
    rules.add("Answer in French")
    rules.add("Answer in French", turn_id="one")
    rules.add("Be brief", turn_id="one")
    rules.add("Be brief")
    assert rules.delete_of_turn("one") == 0
    assert texts(rules.all()) == ["Answer in French", "Be brief"]


def test_only_the_rules_of_that_turn_go(rules):
    rules.add("Answer in French", turn_id="one")
    rules.add("Be brief", turn_id="one")
    rules.add("Be kind", turn_id="two")
    assert rules.delete_of_turn("one") == 2
    assert texts(rules.all()) == ["Be kind"]


def test_a_muted_rule_is_kept_from_the_model(rules):
    first, second = rules.add("Answer in French"), rules.add("Be brief")
    assert rules.mute(first.id).muted
    assert rules.active() == [second]
    assert texts(rules.all()) == ["Answer in French", "Be brief"]
    assert rules.mute(first.id, False) == first
    assert rules.active() == [first, second]


def test_a_rule_is_found_by_number_or_id(rules):
    first, second = rules.add("Answer in French"), rules.add("Be brief")
    assert rules.get("1") == rules.get(1) == rules.get(first.id) == first
    assert rules.get(" 2 ") == rules.get(second.id[:-1]) == second
    for wrong in ("3", "0", "-1", "", "zz", "\u00b2", 0):
        with pytest.raises(StoreError, match="There is no rule") as caught:
            rules.get(wrong)
        assert "/rules" in caught.value.hint
    with pytest.raises(StoreError, match="More than one rule"):
        rules.get(first.id[:2])


def test_a_rule_can_be_put_in_other_words(rules):
    first, second = rules.add("Answer in French", turn_id="turn"), rules.add("Be brief")
    rules.mute(first.id)
    edited = rules.edit(first.id, " Answer in German ")
    assert (edited.id, edited.text, edited.muted, edited.turn_id) == (first.id, "Answer in German", True, "turn")
    assert rules.all() == [edited, second]
    assert texts([rules.edit(first.id, "answer in german")]) == ["answer in german"]


def test_editing_makes_no_double(rules):
    first, _ = rules.add("Answer in French"), rules.add("Be brief")
    rules.edit(first.id, "be BRIEF")
    assert texts(rules.all()) == ["be BRIEF"]


def test_a_deleted_rule_is_gone(rules):
    first, second = rules.add("Answer in French"), rules.add("Be brief")
    rules.delete(first.id)
    assert rules.all() == [second]


@pytest.mark.parametrize("change", ["delete", "mute", "edit"])
def test_only_a_whole_id_changes(rules, change):
    rule = rules.add("Answer in French")
    rules.add("Be brief")
    for wrong in (rule.id[:-1], "1", "", "\udcff"):
        with pytest.raises(StoreError, match="There is no rule"):
            getattr(rules, change)(wrong, *(["Be brief"] if change == "edit" else []))
    assert texts(rules.active()) == ["Answer in French", "Be brief"]


def test_an_empty_rule_is_refused(rules):
    rule = rules.add("Answer in French")
    with pytest.raises(UsageError, match="empty"):
        rules.add(" \n")
    with pytest.raises(UsageError, match="empty"):
        rules.edit(rule.id, "")
    assert rules.all() == [rule]


def test_half_a_surrogate_pair_is_replaced(rules):
    rule = rules.add("bad \udcff", turn_id="t\udcff")
    assert rules.all() == [rule]
    assert rule.text == "bad \ufffd"
    assert rules.delete_of_turn("t\udcff") == 1


class TestGraduation:
    """A rule that an adapter obeys untold is not given to the model while that adapter answers."""

    @pytest.fixture
    def two(self, rules):
        first, second = rules.add("Answer in French"), rules.add("Be brief")
        rules.graduate([first.id], "lora-1")
        return first, second

    def test_it_is_left_out_with_this_adapter_alone(self, rules, two):
        first, second = two
        assert rules.active("lora-1") == [second]
        assert rules.active("lora-2") == rules.active(None) == rules.active() == rules.all() == [first, second]
        rules.mute(second.id)
        assert rules.active("lora-1") == []

    def test_at_another_strength_it_is_told_all(self, rules, two):
        assert rules.active("lora-1", 0.5) == rules.active("lora-1", 0.0) == [*two]
        assert rules.active("lora-1", 1.0) == [two[1]]

    def test_which_did_with_which(self, rules, two):
        first, second = two
        assert rules.graduated() == {first.id: ("lora-1",)}
        rules.graduate([second.id, first.id], "lora-2")
        rules.graduate([first.id], "lora-1")
        assert rules.graduated() == {first.id: ("lora-1", "lora-2"), second.id: ("lora-2",)}

    def test_said_once_more_it_is_given_again(self, rules, two):
        again = rules.add("answer in french")
        assert rules.active("lora-1") == [two[1], again] and rules.graduated() == {}

    def test_in_other_words_too(self, rules, two):
        rules.edit(two[0].id, "Answer in German")
        assert rules.active("lora-1") == rules.all() and rules.graduated() == {}

    def test_muting_it_changes_nothing(self, rules, two):
        rules.mute(two[0].id)
        rules.mute(two[0].id, False)
        assert rules.active("lora-1") == [two[1]]

    def test_one_that_was_deleted_meanwhile_stays_deleted(self, database, rules, two):
        rules.delete(two[0].id)
        rules.graduate([two[0].id, two[1].id, "nothing"], "lora-1")
        assert rules.graduated() == {two[1].id: ("lora-1",)}
        assert len(database.rows("SELECT * FROM graduations")) == 1
