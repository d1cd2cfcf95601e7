"""All that a run sees, decided before its first step."""

from collections import Counter
from dataclasses import replace

import pytest

from shammah.records import Message
from shammah.training.planning import BaseReply, Lesson, plan

GENERAL = [f"What is general thing number {number}?" for number in range(12)]


def lesson(name, weight=1.0, **changes):
    messages = (Message("user", f"What colour has the {name} door?"),)
    fields = {"id": name, "messages": messages, "target": f"The {name} door is red.", "weight": weight}
    return Lesson(**(fields | changes))


LESSONS = [lesson("north"), lesson("south", 3.0), lesson("west", 10.0)]


def said(prompts):
    return [BaseReply(prompt, f"General words, {len(prompt)} of them.", True) for prompt in prompts]


@pytest.fixture
def planned(encoder, a_recipe):
    """The plan for these lessons, by a recipe with these changes."""

    def make(lessons=LESSONS, base_replies=said, general=GENERAL, **changes):
        return plan(lessons, a_recipe(**{"steps": 12, **changes}), encoder, general, base_replies)

    return make


@pytest.fixture
def exact(encoder):
    return {lesson.id: encoder.row(lesson.messages, lesson.target, source=lesson.id) for lesson in LESSONS}


def rows(made, kind="lesson"):
    return [row for step in made.steps for row in step if row.kind == kind]


def text(encoder, row, part=slice(None)):
    return encoder._format._tokenizer.decode(list(row.ids)[part])


def test_every_lesson_is_seen_first_as_it_was_asked(planned, exact):
    first = {}
    for row in rows(planned(exact=0.0)):
        first.setdefault(row.source, row)
    assert {id: row.ids for id, row in first.items()} == {id: row.ids for id, row in exact.items()}


def test_the_others_are_asked_in_other_words_with_the_same_reply(planned, exact, encoder):
    made = rows(planned(exact=0.0, steps=30))
    others = [row for row in made if row.ids != exact[row.source].ids]
    assert len(others) > 0.8 * len(made) and len({row.ids for row in others}) > 0.6 * len(others)
    for row in made:
        own = exact[row.source]
        assert row.ids[row.start :] == own.ids[own.start :]


def test_as_many_as_wished_stay_exact(planned, exact):
    made = rows(planned(exact=1.0))
    assert all(row.ids == exact[row.source].ids for row in made)


def test_some_follow_another_exchange(planned, encoder):
    made = rows(planned(exact=0.0, steps=60))
    prompts = [text(encoder, row, slice(row.start)) for row in made]
    following = [prompt for prompt in prompts if prompt.count("<|im_start|>") == 4]
    assert 0.02 * len(made) < len(following) < 0.2 * len(made)
    assert all("General words" in prompt for prompt in following)


def test_what_came_before_stays_before(planned, encoder):
    before = (Message("user", "Hello there"), Message("assistant", "Welcome"))
    talk = lesson("east", messages=(*before, Message("user", "And the east door?")))
    for row in rows(planned([talk], exact=0.0)):
        assert text(encoder, row, slice(row.start)).startswith(
            "<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\nWelcome<|im_end|>\n<|im_start|>user\n"
        )


def test_weights_are_draws_and_what_is_left_of_them_counts(planned):
    made = rows(planned(steps=35, cap=3.0, weight_power=0.5, anchors=0.0, batch_size=2))
    assert Counter(row.source for row in made) == {"north": 10, "south": 30, "west": 30}
    weights = {row.source: row.weight for row in made}
    assert weights["north"] == weights["south"]
    assert weights["west"] / weights["south"] == pytest.approx((10 / 3) ** 0.5)
    assert sum(row.weight for row in made) == pytest.approx(len(made))


def test_each_step_has_its_share_of_anchors(planned, a_recipe):
    recipe = a_recipe()
    for anchors in (0.0, 0.25, 0.5, 0.9):
        made = planned(anchors=anchors)
        wanted = replace(recipe, anchors=anchors)
        for step in made.steps:
            kinds = Counter(row.kind for row in step)
            assert (kinds["lesson"], kinds["anchor"]) == (wanted.lessons_per_step(), wanted.anchors_per_step())
    assert len(planned().steps) == 12


def test_anchors_are_what_the_base_says(planned, encoder, a_recipe):
    cut_off = [BaseReply(prompt, "x" * 60, False) for prompt in GENERAL]
    made = rows(planned(base_replies=lambda prompts: cut_off[: len(prompts)], near_misses=0.0), "anchor")
    most = a_recipe().anchor_tokens
    assert made and all(text(encoder, row, slice(row.start, None)) == "x" * most for row in made)
    assert all(row.source == "" and row.weight == 1.0 for row in made)
    whole = rows(planned(near_misses=0.0), "anchor")
    assert not any(text(encoder, row).endswith("x") for row in whole)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_near_misses_have_their_share_of_the_anchors(planned, encoder, share):
    made = rows(planned(near_misses=share, steps=40, batch_size=9, anchors=0.5), "anchor")
    near = [row for row in made if "general thing" not in text(encoder, row)]
    assert len(near) / len(made) == pytest.approx(share, abs=0.1)
    for row in near:
        assert "north" not in text(encoder, row) and "What" in text(encoder, row)


def test_general_prompts_about_what_is_taught_are_no_anchors(planned, encoder):
    about = "What colour has a door?"
    general = [*GENERAL, about, "What colour has a window?"]
    made = {text(encoder, row) for row in rows(planned(general=general, near_misses=0.0, steps=60), "anchor")}
    assert not any(about in said for said in made), "it has no word that is not taught"
    assert any("window" in said for said in made) and len(made) == len(general) - 1


def test_a_base_that_says_nothing_holds_nobody(planned, encoder):
    """As one that reasons may, and has come to no reply yet."""

    def half_of_it(prompts):
        return [BaseReply(reply.prompt, reply.text if at % 2 else " ", False) for at, reply in enumerate(said(prompts))]

    made = planned(base_replies=half_of_it, exact=0.0, steps=60, near_misses=0.0)
    assert {len(text(encoder, row, slice(row.start, None))) for row in rows(made, "anchor")} == {24}
    prompts = [text(encoder, row, slice(row.start)) for row in rows(made)]
    assert any(prompt.count("<|im_start|>user") == 2 for prompt in prompts)
    assert not any("assistant\n <|im_end|>" in prompt for prompt in prompts)
    silent = planned(base_replies=lambda prompts: [BaseReply(prompt, "", True) for prompt in prompts], exact=0.0)
    assert rows(silent) and not rows(silent, "anchor")


def test_without_anchors_the_base_is_not_asked(planned):
    def never(prompts):
        raise AssertionError("nobody needs it")

    assert rows(planned(base_replies=never, anchors=0.0), "anchor") == []


def test_the_same_seed_gives_the_same_plan(planned):
    assert planned(patience=2) == planned(patience=2) != planned(patience=2, seed=1)


def test_what_is_too_long_is_reported_and_left_out(planned):
    long = lesson("long", target="x" * 300)
    made = planned([long, *LESSONS])
    assert made.too_long == ("long",) and {row.source for row in rows(made)} == {"north", "south", "west"}
    alone = planned([long])
    assert (alone.steps, alone.too_long) == ((), ("long",))


def test_where_only_the_variants_are_too_long_it_is_asked_as_it_was(planned, encoder):
    room = 200 - len(encoder.prompt(LESSONS[0].messages)) - 1
    full = lesson("north", target="y" * room)
    made = rows(planned([full], exact=0.0))
    assert made and all(len(row.ids) <= 200 for row in made)


def test_rejected_replies_only_where_they_are_weighed(planned, encoder):
    judged = lesson("north", rejected="It is blue.")
    assert all(row.rejected is None for row in rows(planned([judged])))
    for row in rows(planned([judged], preference="odds", exact=0.0)):
        assert row.rejected.ids[: row.start] == row.ids[: row.start]
        assert "It is blue." in text(encoder, row.rejected)


def test_what_is_held_out_is_never_trained_on(planned):
    made = planned(patience=2)
    held = {row.ids for row in made.held_out}
    assert len(made.held_out) == 6 and {row.source for row in made.held_out} == {"north", "south", "west"}
    assert not held & {row.ids for row in rows(made)}
    assert planned().held_out == ()


def test_epochs_are_counted(planned, a_recipe):
    made = planned(steps=0, epochs=4.0, anchors=0.0, batch_size=7, cap=3.0)
    assert len(made.steps) == 4 and made.epochs == pytest.approx(4.0)
    assert {row.source for row in made.steps[0]} == {"north", "south", "west"}


def test_thousands_of_lessons_take_no_time(planned):
    many = [lesson(f"{number}th") for number in range(3000)]
    made = planned(many, steps=1)
    assert len(made.steps) == 1
