"""What is counted, by what, and that no text is read for it."""

from collections import Counter

import pytest

from shammah.store import Examples
from shammah.store.statistics import _COUNTS, _MODELS, _USES, Use, statistics, uses

NOW = "2026-02-10T12:00:00.000Z"


def on(day, *, hour="09"):
    return f"2026-02-{day:02d}T{hour}:00:00.000Z"


@pytest.fixture
def count(database):
    def count(**asked):
        return statistics(database, now=lambda: NOW, **asked)

    return count


@pytest.fixture
def talk(say):
    """Two days, two models, two speakers besides the models alone."""
    say(time=on(8), feedback="good", quality=0.9)
    say(time=on(8, hour="23"), feedback="critical", quality=0.1, adapter="first")
    say(time=on(8), quality=0.5)
    say(time=on(10), feedback="medium", quality=0.3, model="large", adapter="first")
    say(time=on(10), model="large", adapter="second")


def test_an_empty_home_has_statistics_too(count):
    found = count()
    assert (found.all.turns, found.all.rated, found.all.feedback_rate, found.all.average_quality) == (0, 0, None, None)
    assert found.all.share("good") is found.all.disliked is None
    assert found.by_model == found.by_adapter == found.by_day == ()
    assert found.trend == (None,) * 30
    assert found.examples.total == 0


def test_all_turns(talk, count):
    found = count().all
    assert (found.turns, found.rated, found.feedback_rate) == (5, 3, 3 / 5)
    assert (found.good, found.medium, found.critical) == (1, 1, 1)
    assert found.share("good") == 1 / 3 and found.disliked == 2 / 3
    assert found.average_quality == pytest.approx((0.9 + 0.1 + 0.5 + 0.3) / 4), "of those that have one"


def test_by_model_adapter_and_day(talk, count):
    found = count()
    assert [(tally.name, tally.turns) for tally in found.by_model] == [("small", 3), ("large", 2)]
    assert [(tally.name, tally.turns) for tally in found.by_adapter] == [("first", 2), ("none", 2), ("second", 1)]
    assert [(tally.name, tally.turns, tally.rated) for tally in found.by_day] == [
        ("2026-02-08", 3, 2),
        ("2026-02-10", 2, 1),
    ]
    first, none, second = found.by_adapter
    assert first.average_quality == pytest.approx(0.2) and none.average_quality == pytest.approx(0.7)
    assert second.average_quality is None and first.disliked == 1.0 and second.disliked is None


def test_only_the_last_days(talk, count):
    assert [tally.name for tally in count(days=3).by_day] == ["2026-02-08", "2026-02-10"]
    assert [tally.name for tally in count(days=2).by_day] == ["2026-02-10"]
    assert (count(days=1).all.turns, count(days=3).all.turns) == (2, 5)
    assert [tally.name for tally in count(days=1).by_model] == ["large"]


def test_the_trend_has_a_place_for_each_day(talk, count):
    assert count(days=4).trend == (None, pytest.approx(0.5), None, pytest.approx(0.3))
    assert count().trend[-3:] == (pytest.approx(0.5), None, pytest.approx(0.3)) and len(count().trend) == 30


def test_days_before_the_calendar_begins(talk, count):
    assert count(days=10**6).all.turns == 5


def test_examples_are_counted_as_they_say_of_themselves(database, an_example, count):
    examples = Examples(database)
    for number in range(2):
        examples.put(an_example(f"ready {number}"))
    examples.put(an_example("same", "one"))
    examples.put(an_example("same", "two"))  # the first stands back
    learned = examples.put(an_example("learned"))
    examples.mark_trained([learned.id], "first")
    examples.put(an_example("no target", None, rejected="x", level="medium"))
    examples.put(an_example("look", None, rejected="x", note="n", level="medium", state="needs review"))
    examples.put(an_example("aside", state="disabled"))
    found = count().examples
    said = Counter(example.status for example in examples.find(limit=None))
    assert said == {
        "ready": found.ready,
        "trained by 1": found.trained,
        "needs target": found.needs_target,
        "needs review": found.needs_review,
        "disabled": found.disabled,
    }
    assert (found.ready, found.trained, found.disabled, found.total) == (3, 1, 2, 8)


def test_how_adapters_were_used(database, talk):
    found = uses(database)
    assert found == {
        "first": Use(turns=2, good=0, medium=1, critical=1, last=on(10)),
        "second": Use(turns=1, good=0, medium=0, critical=0, last=on(10)),
        None: Use(turns=2, good=1, medium=0, critical=0, last=on(8)),
    }
    since = uses(database, since=on(10))
    assert since == {"first": Use(turns=1, good=0, medium=1, critical=0, last=on(10)), "second": found["second"]}
    assert uses(database, since=on(11)) == {}


def test_of_several_models_alone_only_the_ones_that_are_meant(database, talk, say):
    say(time=on(9), model="large", feedback="critical")
    found = uses(database)
    assert found[None].turns == 3
    large = uses(database, is_base=lambda model: model == "large")
    assert large == {**found, None: Use(turns=1, good=0, medium=0, critical=1, last=on(9))}
    assert None not in uses(database, is_base=lambda model: False)


@pytest.mark.parametrize(("sql", "asked"), [(_COUNTS, ["2026"]), (_USES, ["2026", '["small"]']), (_MODELS, [])])
def test_the_texts_are_not_read(database, talk, sql, asked):
    plan = [row["detail"] for row in database.rows(f"EXPLAIN QUERY PLAN {sql}", asked)]
    (access,) = [step for step in plan if "turns" in step]
    assert "USING COVERING INDEX turns_for_statistics" in access
