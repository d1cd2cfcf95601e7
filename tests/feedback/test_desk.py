"""Ratings, better replies, lessons and rules, as they come together in the store."""

from dataclasses import replace
from typing import Any

import pytest
from support.remembering import memory
from support.talking import Talker

from shammah.config import Config, GenerationSettings
from shammah.errors import StoreError, UsageError
from shammah.feedback.desk import Desk
from shammah.records import Message, Turn
from shammah.session import Guidance, Session
from shammah.store import Conversations, Database, Examples
from shammah.store.rules import Rules

GREEDY = GenerationSettings(temperature=0.0)
NOTE = "Always handle file I/O errors properly"
KEY = "sk-ant-api03-Zk3vQ9xT7mLp2RwY8sBd4FhJ6nKc1VgE"


@pytest.fixture
def desk(database: Database) -> Desk:
    return memory(database).desk


@pytest.fixture
def session(database: Database) -> Session:
    return Session(Talker(["Unwrap it."]), memory(database))  # type: ignore[arg-type]


def ask(session: Session, question: str = "How do I read a file?") -> Turn:
    *_, turn = session.ask(question, GREEDY)
    assert isinstance(turn, Turn)
    return turn


# Rating


def test_a_good_reply_is_its_own_target(desk: Desk, session: Session) -> None:
    turn = ask(session)
    outcome = desk.rate(turn.id, "good", "just so")
    example = outcome.example
    assert (example.target, example.rejected, example.note, example.state) == ("Unwrap it.", None, "just so", "ready")
    assert (example.turn_id, example.source, example.weight, example.model) == (turn.id, "rating", 1.0, "talker")
    assert outcome.rule is None, "praise is no rule"
    assert (outcome.buffer.examples, outcome.buffer.weighted) == (1, 1.0)


def test_a_critical_note_makes_a_rule_and_waits_for_a_rewrite(desk: Desk, session: Session) -> None:
    outcome = desk.rate(ask(session).id, "critical", NOTE)
    example = outcome.example
    assert (example.target, example.rejected, example.state) == (None, "Unwrap it.", "needs review")
    assert example.trainable and (outcome.buffer.examples, outcome.buffer.weighted) == (1, 10.0)
    assert outcome.rule is not None and outcome.rule.text == NOTE


def test_a_bare_critical_waits_for_the_user(desk: Desk, session: Session) -> None:
    outcome = desk.rate(ask(session).id, "critical")
    assert outcome.example.state == "needs target" and not outcome.example.trainable
    assert (outcome.buffer.examples, outcome.buffer.needs_target) == (0, 1)


def test_weights_are_settings(database: Database, session: Session) -> None:
    from shammah.config import WeightSettings

    desk = memory(database, weights=WeightSettings(medium=2.5)).desk
    assert desk.rate(ask(session).id, "medium", NOTE).example.weight == 2.5


def test_one_may_change_ones_mind(desk: Desk, session: Session, database: Database) -> None:
    turn = ask(session)
    first = desk.rate(turn.id, "critical", NOTE).example
    again = desk.rate(turn.id, "critical")
    assert (again.example.id, again.example.note, again.rule) == (first.id, NOTE, None)
    assert [rule.text for rule in desk.rules.all()] == [NOTE], "the note is kept, and its rule"
    better = desk.rate(turn.id, "good")
    assert (better.example.id, better.example.target, better.example.note) == (first.id, "Unwrap it.", None)
    assert desk.rules.all() == [] and desk.examples.count() == 1
    assert Conversations(database).turn(turn.id).feedback == "good"


def test_a_rule_that_was_muted_stays_so_when_the_reply_is_fixed(desk: Desk, session: Session) -> None:
    turn = ask(session)
    rule = desk.rate(turn.id, "critical", NOTE).rule
    assert rule is not None
    desk.rules.mute(rule.id)
    assert desk.fix(turn.id, "Use match.").rule is None
    assert desk.rules.active() == [] and [known.text for known in desk.rules.all()] == [NOTE]


def test_taking_a_rating_back_leaves_nothing_of_it(desk: Desk, session: Session, database: Database) -> None:
    turn = ask(session)
    before = Conversations(database).turn(turn.id)
    desk.rate(turn.id, "critical", NOTE)
    assert desk.unrate(turn.id).examples == 0
    assert desk.examples.count() == 0 and desk.rules.all() == []
    assert Conversations(database).turn(turn.id) == before
    with pytest.raises(UsageError, match="not rated"):
        desk.unrate(turn.id)


def test_an_empty_reply_teaches_nothing_until_it_is_written(desk: Desk, database: Database) -> None:
    turn = ask(Session(Talker([""]), memory(database)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="empty"):
        desk.rate(turn.id, "good")
    assert desk.examples.count() == 0 and Conversations(database).turn(turn.id).feedback is None
    assert desk.fix(turn.id, "Use open().").example.target == "Use open()."


def test_a_rating_is_all_or_nothing(database: Database, session: Session) -> None:
    class Broken(Rules):
        def add(self, text: str, *, turn_id: str | None = None) -> Any:
            raise StoreError("the disk went away")

    turn = ask(session)
    conversations = Conversations(database)
    desk = Desk(database, conversations, Examples(database), Broken(database), Config())
    with pytest.raises(StoreError):
        desk.rate(turn.id, "critical", NOTE)
    assert conversations.turn(turn.id).feedback is None and Examples(database).count() == 0


def test_a_rating_changes_the_quality(desk: Desk, session: Session, database: Database) -> None:
    turn = ask(session)
    unrated = Conversations(database).turn(turn.id).quality
    desk.rate(turn.id, "critical", NOTE)
    rated = Conversations(database).turn(turn.id)
    assert unrated is not None and rated.quality is not None and rated.quality < 0.25 < unrated
    assert rated.quality_parts["rating"] == 0.0
    desk.fix(turn.id, "Use match.")
    assert "edit" in Conversations(database).turn(turn.id).quality_parts


@pytest.mark.parametrize("answer", [0.25, 7, float("nan"), "no number", ValueError("broken")], ids=repr)
def test_a_scorer_of_ones_own_joins_in_and_cannot_do_harm(database: Database, session: Session, answer: Any) -> None:
    def scorer(query: str, response: str) -> float:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    turn = ask(session)
    desk = Desk(database, Conversations(database), Examples(database), Rules(database), Config(), scorer=scorer)
    parts = desk.score(turn).parts
    assert parts.get("scorer") == {0.25: 0.25, 7: 1.0}.get(answer if isinstance(answer, float | int) else None)


# The better reply


def test_a_better_reply_is_the_target_at_any_level(desk: Desk, session: Session) -> None:
    turn = ask(session)
    fixed = desk.fix(turn.id, "Use match.").example
    assert (fixed.level, fixed.target, fixed.rejected, fixed.source) == ("medium", "Use match.", "Unwrap it.", "fix")
    worse = desk.rate(turn.id, "critical", NOTE).example
    assert (worse.level, worse.target, worse.weight, worse.note) == ("critical", "Use match.", 10.0, NOTE)
    rewritten = desk.fix(turn.id, "Use match and print the error.", source="rewrite").example
    assert (rewritten.level, rewritten.source, rewritten.id) == ("critical", "rewrite", fixed.id)


@pytest.mark.parametrize("better", ["", "  \n", "Unwrap  it.\n"])
def test_a_better_reply_has_to_be_one(desk: Desk, session: Session, better: str) -> None:
    with pytest.raises(UsageError):
        desk.fix(ask(session).id, better)
    assert desk.examples.count() == 0


def test_a_second_try_rated_good_is_paired_with_the_first(desk: Desk, database: Database) -> None:
    session = Session(Talker(["Bad.", "Good."]), memory(database))  # type: ignore[arg-type]
    first = ask(session)
    *_, second = session.retry(GREEDY)
    assert isinstance(second, Turn)
    example = desk.rate(second.id, "good").example
    assert (example.target, example.rejected, example.source, example.level) == ("Good.", "Bad.", "retry", "good")
    assert example.messages == (Message("user", first.query),)


def test_a_second_try_that_says_what_was_rejected_is_no_target(desk: Desk, database: Database) -> None:
    session = Session(Talker(["Bad."]), memory(database))  # type: ignore[arg-type]
    desk.rate(ask(session).id, "critical")
    *_, second = session.retry(GREEDY)
    assert isinstance(second, Turn)
    example = desk.rate(second.id, "good").example
    assert not example.trainable and "critical" in example.hold


# What the model saw


def test_the_prompt_is_the_conversation_without_the_rules(desk: Desk, database: Database) -> None:
    guidance = Guidance(lambda adapter, strength: ["Answer in French."])
    session = Session(Talker(["Un.", "Deux."]), memory(database), system="Be kind.", guidance=guidance)  # type: ignore[arg-type]
    ask(session, "One?")
    example = desk.rate(ask(session, "Two?").id, "good").example
    assert [(message.role[0], message.content) for message in example.messages] == [
        ("s", "Be kind."), ("u", "One?"), ("a", "Un."), ("u", "Two?"),
    ]  # fmt: skip
    assert example.rules == ("Answer in French.",)


def test_turns_that_had_left_the_window_are_not_in_it(desk: Desk, database: Database) -> None:
    talker = Talker(["x" * 40], window=200)
    session = Session(talker, memory(database))  # type: ignore[arg-type]
    turns = [ask(session, f"Question {number}?") for number in range(8)]
    assert turns[-1].dropped > 0
    example = desk.rate(turns[-1].id, "good").example
    said = "".join(f"{message.role[0]}:{message.content}|" for message in example.messages)
    assert said == talker.prompts[-1]


# The one rule, where it is easily lost


def rows(desk: Desk, *given: dict[str, Any]) -> list[str | None]:
    """Take these rows in; the targets that training would draw."""
    from shammah.feedback.formats import read_row

    for row in given:
        desk.take(read_row("shammah", {"prompt": "P", **row}, rating="good"))
    return [example.target for example in desk.examples.live() if example.target is not None]


def test_a_worse_verdict_is_not_taken_for_the_same(desk: Desk) -> None:
    pair = {"reply": "R", "better": "B"}
    given = [{**pair, "rating": "good"}, {**pair, "rating": "critical"}, {"reply": "R", "rating": "good"}]
    assert rows(desk, *given) == ["B"]


def test_letters_in_another_case_are_judged_for_themselves(desk: Desk) -> None:
    bad = [{"reply": reply, "rating": "critical"} for reply in ("paris", "PARIS", "cafe\u0301")]
    assert rows(desk, *bad, *({"reply": reply, "rating": "good"} for reply in ("PARIS", "paris", "caf\u00e9"))) == []


def test_a_second_try_that_is_rated_down_later_is_the_rejected_one(desk: Desk) -> None:
    rows(desk, {"reply": "first", "better": "second", "rating": "good", "source": "retry"})
    (example,) = desk.examples.find()
    worse = desk.rate_example(example.id, "critical")
    assert (worse.target, worse.rejected) == (None, "second")


def test_a_reply_that_somebody_wrote_stays_the_target_at_every_level(desk: Desk) -> None:
    example = desk.teach("What port?", "8443").example
    assert desk.rate_example(example.id, "medium").target == "8443"


def test_a_row_of_an_unrated_turn_stands_alone(desk: Desk, session: Session) -> None:
    turn = ask(session)
    rows(desk, {"reply": "R", "rating": "good", "turn_id": turn.id})
    (example,) = desk.examples.find()
    assert example.turn_id is None
    assert desk.delete([example.id]) == 1 and desk.examples.count() == 0


def test_another_word_on_a_reply_keeps_what_was_set_by_hand(desk: Desk, session: Session) -> None:
    example = desk.rate(ask(session).id, "critical", NOTE).example
    desk.examples.change(example.id, weight=50.0, tags=("files",), state="disabled", reason="put aside by hand")
    again = desk.rate_example(example.id, "critical", "Never unwrap")
    assert (again.weight, again.tags, again.state, again.note) == (50.0, ("files",), "disabled", "Never unwrap")


def test_a_secret_in_an_accepted_reply_has_to_be_seen_first(desk: Desk, session: Session) -> None:
    example = desk.rate(ask(session).id, "critical").example
    edited = desk.accept(example.id, f"Use {KEY}")
    assert (edited.state, edited.secrets, edited.trainable) == ("needs review", ("API key",), False)
    assert desk.accept(example.id).trainable


def test_a_note_with_a_secret_makes_no_rule(desk: Desk, session: Session) -> None:
    assert desk.rate(ask(session).id, "critical", f"Our key is {KEY}").rule is None


# Lessons


def test_a_lesson_needs_no_reply(desk: Desk) -> None:
    example = desk.teach("What port?", "8443", system="Be kind.").example
    assert (example.target, example.rejected, example.level, example.source) == ("8443", None, "critical", "teach")
    assert example.messages == (Message("system", "Be kind."), Message("user", "What port?"))
    with pytest.raises(UsageError):
        desk.teach(" ", "8443")


def test_the_newest_of_two_lessons_counts_and_the_older_comes_back(desk: Desk) -> None:
    old, new = desk.teach("What port?", "8443").example, desk.teach("what  PORT?", "9000").example
    assert [example.target for example in desk.examples.live()] == ["9000"]
    assert desk.examples.get(old.id).hold
    desk.delete([new.id])
    assert [example.target for example in desk.examples.live()] == ["8443"]


# Secrets


def test_an_example_with_a_secret_waits_until_it_was_looked_at(
    desk: Desk, session: Session, database: Database
) -> None:
    turn = ask(session, f"My key is {KEY}, what now?")
    outcome = desk.rate(turn.id, "good")
    assert outcome.example.secrets == ("API key",) and not outcome.example.trainable
    assert (outcome.buffer.examples, outcome.buffer.needs_review) == (0, 1)
    accepted = desk.accept(outcome.example.id)
    assert accepted.trainable and accepted.state == "ready" and KEY not in accepted.prompt
    assert KEY.encode() not in database.path.read_bytes()


def test_notes_lessons_and_better_replies_are_redacted(desk: Desk, session: Session) -> None:
    turn = ask(session)
    example = desk.rate(turn.id, "critical", f"Our key is {KEY}").example
    assert example.note is not None and KEY not in example.note
    fixed = desk.fix(turn.id, f"Use {KEY}").example
    taught = desk.teach("Which key?", KEY).example
    assert fixed.target == "Use [redacted API key]" and taught.target == "[redacted API key]"
    assert all(KEY not in rule.text for rule in desk.rules.all())


# The inbox


def test_accepting_needs_a_target(desk: Desk, session: Session) -> None:
    example = desk.rate(ask(session).id, "critical").example
    with pytest.raises(UsageError):
        desk.accept(example.id)
    with pytest.raises(UsageError):
        desk.accept(example.id, "Unwrap it.")
    accepted = desk.accept(example.id, "Use match.")
    assert (accepted.state, accepted.target, accepted.source) == ("ready", "Use match.", "fix")


def test_an_example_put_aside_comes_back_as_it_was(desk: Desk, session: Session) -> None:
    for level, note in (("good", ""), ("critical", NOTE), ("critical", "")):
        session.clear()
        example = desk.rate(ask(session, f"{level} {note}?").id, level, note).example  # type: ignore[arg-type]
        assert not desk.enable(example.id, False).trainable
        assert replace(desk.enable(example.id), reason=example.reason) == example


def test_rated_anew_a_good_reply_becomes_the_rejected_one(desk: Desk) -> None:
    from shammah.feedback.formats import Draft

    draft = Draft(messages=(Message("user", "What port?"),), level="good", reply="80")
    example, new = desk.take(draft)
    assert new and example.target == "80"
    worse = desk.rate_example(example.id, "critical", "Staging uses port 8443")
    assert (worse.target, worse.rejected, worse.weight, worse.state) == (None, "80", 10.0, "needs review")


def test_deleting_an_example_takes_its_rating_back(desk: Desk, session: Session, database: Database) -> None:
    turn = ask(session)
    desk.delete([desk.rate(turn.id, "critical", NOTE).example.id])
    assert Conversations(database).turn(turn.id).feedback is None and desk.rules.all() == []


# Rules


def test_the_newest_rule_wins(desk: Desk) -> None:
    french, _ = desk.add_rule("Always answer in French")
    german, muted = desk.add_rule("Always answer in German")
    assert muted == (replace(french, muted=True),)
    _, muted = desk.unmute_rule(french.id)
    assert [rule.id for rule in muted] == [german.id]
    _, muted = desk.edit_rule(german.id, "Never answer in French")
    assert muted == (), "a muted rule beats none"
    assert [rule.text for rule in desk.rules.active()] == ["Always answer in French"]


class Obedient(Talker):
    """A small model that does what it is told, if it is told in its prompt."""

    def reply(self, prompt: Any, settings: GenerationSettings, **more: Any) -> Any:
        self.says = ["Bonjour." if "french" in "".join(map(chr, prompt)).lower() else "Hello."]
        return super().reply(prompt, settings, **more)


def test_a_note_changes_the_very_next_reply_and_muting_it_restores_the_old(desk: Desk, database: Database) -> None:
    talker = Obedient()
    guidance = Guidance(lambda adapter, strength: [rule.text for rule in desk.rules.active()])
    session = Session(talker, memory(database), guidance=guidance)  # type: ignore[arg-type]
    first = ask(session, "Greet me.")
    rule = desk.rate(first.id, "critical", "Always answer in French").rule
    assert rule is not None
    session.clear()
    second = ask(session, "Greet me.")
    desk.rules.mute(rule.id)
    session.clear()
    third = ask(session, "Greet me.")
    assert [turn.response for turn in (first, second, third)] == ["Hello.", "Bonjour.", "Hello."]
    assert talker.prompts[1] == "u:Always answer in French.\n\nGreet me.|"
    assert talker.prompts[0] == talker.prompts[2] == "u:Greet me.|"


def test_rules_are_redacted_and_not_empty(desk: Desk) -> None:
    rule, _ = desk.add_rule(f"Use the key {KEY}")
    assert KEY not in rule.text
    assert KEY not in desk.edit_rule(rule.id, f"Use this key: {KEY}")[0].text
    for text in ("", "  "):
        with pytest.raises(UsageError):
            desk.add_rule(text)
