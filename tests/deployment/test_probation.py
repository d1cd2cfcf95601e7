"""A new adapter that is rated worse than what answered before it is taken back, and no other one."""

import pytest
from support.standing_adapters import FIRST, SECOND, put_silent

from shammah.deployment.activation import Helm
from shammah.deployment.probation import Probation, Ratings, worse
from shammah.deployment.roster import Roster
from shammah.home import Home
from shammah.store.activations import Activations
from shammah.store.audit import Audit
from shammah.store.comparisons import Comparisons

BASE = "smollm2-135m"


class TestTheRule:
    @pytest.mark.parametrize(
        ("under", "before", "goes"),
        [
            ((0, 3), [(3, 0)], True),
            ((0, 2), [(3, 0)], False),  # two tell nothing
            ((0, 3), [(2, 0)], False),  # nor do two before it
            ((0, 3), [], False),
            ((3, 1), [(4, 0)], True),  # a quarter worse
            ((4, 1), [(4, 0)], False),
            ((1, 3), [(1, 1)], False),  # a half was not good before
            ((2, 8), [(9, 11)], True),
            ((0, 3), [(0, 10)], False),  # nothing was good before either
            ((0, 20), [(3, 0)], True),
            ((0, 21), [(3, 0)], False),  # it is over
            ((20, 0), [(3, 0)], False),
            ((0, 3), [(1, 0), (2, 0)], True),  # the one before was hardly rated: the one before that counts too
            ((0, 3), [(1, 0), (0, 9)], False),
            ((0, 3), [(3, 0), (0, 99)], True),  # and does not where it was rated enough
        ],
    )
    def test_who_goes(self, under, before, goes):
        assert bool(worse(Ratings(*under), [Ratings(*each) for each in before], rated=20, fewest=3)) == goes

    def test_the_reason_has_the_counts(self):
        reason = worse(Ratings(1, 3), [Ratings(1, 0), Ratings(7, 1)], rated=20, fewest=3)
        assert reason == "3 of 4 rated replies under it were not good, before it 1 of 9"


@pytest.fixture
def activations(database):
    return Activations(database)


@pytest.fixture
def helm(home, database, activations):
    for version, name in enumerate((FIRST, SECOND), 1):
        put_silent(home, name, version=version)
    return Helm(Roster(Home(home), database), activations, Audit(database))


@pytest.fixture
def probation(database, activations, helm):
    def probation(rated=20, fewest=3):
        return Probation(database, activations, helm, rated=rated, fewest=fewest)

    return probation


@pytest.fixture
def rate(conversations, a_turn):
    """Have a voice answer, and rate that."""

    def rate(adapter, *levels, model=BASE):
        for level in levels:
            turn = conversations.add(a_turn(adapter=adapter, model=model), title="talk")
            conversations.rate(turn.id, level, None, quality=None, quality_parts={})

    return rate


GOOD, BAD = ["good"] * 3, ["critical", "medium", "critical"]


def test_it_is_taken_back_and_the_trail_says_why(helm, probation, rate, database, activations):
    rate(None, *GOOD)
    helm.load(FIRST, base=BASE, actor="training")
    for level in BAD[:2]:
        rate(FIRST, level)
        assert probation().after_rating(BASE) is None
    rate(FIRST, BAD[2])
    made = probation().after_rating(BASE)
    assert (made.adapter, made.actor) == (None, "probation")
    assert activations.current(BASE) == made
    assert made.cause == "3 of 3 rated replies under it were not good, before it 0 of 3"
    entry = Audit(database).entries(1)[0]
    assert (entry.actor, entry.action, entry.subject) == ("probation", "rolled back", FIRST)
    assert entry.details["cause"] == made.cause
    assert probation().after_rating(BASE) is None, "once"


def test_it_goes_back_to_the_adapter_before(helm, probation, rate):
    helm.load(FIRST, base=BASE, strength=0.5, actor="training")
    rate(FIRST, *GOOD, "medium")
    helm.load(SECOND, base=BASE, actor="training")
    rate(SECOND, *BAD, "good")
    made = probation().after_rating(BASE)
    assert (made.adapter, made.strength) == (FIRST, 0.5)
    assert made.cause == "3 of 4 rated replies under it were not good, before it 1 of 4"


def test_one_that_is_loaded_again_is_wanted(helm, probation, rate):
    rate(None, *GOOD)
    helm.load(FIRST, base=BASE, actor="training")
    rate(FIRST, *BAD)
    assert probation().after_rating(BASE) is not None
    helm.load(FIRST, base=BASE)
    rate(FIRST, *BAD)
    assert probation().after_rating(BASE) is None


def test_what_was_said_with_it_before_it_was_taken_into_use_does_not_count(helm, probation, rate):
    """Somebody tried it with --adapter."""
    rate(None, *GOOD)
    rate(FIRST, *BAD)
    helm.load(FIRST, base=BASE, actor="training")
    assert probation().after_rating(BASE) is None
    rate(FIRST, *GOOD)
    assert probation().after_rating(BASE) is None


def test_what_another_model_was_rated_does_not_count(helm, probation, rate):
    rate(None, *GOOD, model="some/other-model")
    helm.load(FIRST, base=BASE, actor="training")
    rate(FIRST, *BAD)
    assert probation().after_rating(BASE) is None
    rate(None, *GOOD)
    assert probation().after_rating(BASE).cause.endswith("before it 0 of 3")


def test_the_base_has_no_probation(helm, probation, rate):
    rate(None, *BAD)
    assert probation().after_rating(BASE) is None
    helm.load(FIRST, base=BASE)
    rate(FIRST, *GOOD)
    helm.unload(BASE)
    rate(None, *BAD)
    assert probation().after_rating(BASE) is None


def test_it_can_be_longer_shorter_and_off(helm, probation, rate):
    rate(None, *GOOD)
    helm.load(FIRST, base=BASE, actor="training")
    rate(FIRST, *BAD)
    assert probation(rated=0).after_rating(BASE) is None
    assert probation(rated=2).after_rating(BASE) is None
    assert probation(fewest=4).after_rating(BASE) is None
    assert probation(rated=3).after_rating(BASE) is not None


class TestPicks:
    """Those of /compare."""

    @pytest.fixture
    def pick(self, database):
        """Pick one of two voices over the other."""

        def pick(won, lost, times=1, base=BASE):
            for _ in range(times):
                Comparisons(database).add(base, lost, won, "second")

        return pick

    def test_lost_ones_count_as_ratings(self, helm, probation, rate, pick):
        rate(None, *GOOD)
        pick(None, FIRST, 3)  # before it was taken into use
        helm.load(FIRST, base=BASE, actor="training")
        rate(FIRST, "good", "critical")
        pick(None, FIRST, base="other")
        assert probation().after_rating(BASE) is None
        pick(None, FIRST)
        made = probation().after_rating(BASE)
        told = "2 of 3 rated or compared replies under it were not good, before it 0 of 4"
        assert (made.adapter, made.cause) == (None, told)

    def test_they_are_enough_where_nothing_was_rated(self, helm, probation, pick):
        helm.load(FIRST, base=BASE, actor="training")
        helm.load(SECOND, base=BASE, actor="training")
        pick(FIRST, SECOND, 2)
        assert probation().after_rating(BASE) is None
        pick(FIRST, SECOND)
        assert probation().after_rating(BASE).adapter == FIRST

    def test_won_and_even_ones_keep_it(self, helm, probation, rate, pick, database):
        rate(None, *GOOD)
        helm.load(FIRST, base=BASE, actor="training")
        pick(FIRST, None, 3)
        rate(FIRST, "critical", "critical")
        Comparisons(database).add(BASE, FIRST, None, None)
        assert probation().after_rating(BASE) is None, "2 of 5 are not good, 3 of 6 before it"

    def test_what_never_answered_before_it_is_no_measure(self, helm, probation, rate, pick):
        rate(None, *GOOD)
        helm.load(FIRST, base=BASE, actor="training")
        pick(SECOND, FIRST, 5)
        assert probation().after_rating(BASE) is None


def test_what_was_taken_into_use_while_it_was_decided_stays(helm, probation, rate, activations, monkeypatch):
    rate(None, *GOOD)
    helm.load(FIRST, base=BASE, actor="training")
    rate(FIRST, *BAD)
    own = helm.rollback

    def overtaken(*given, **kinds):
        activations.activate(BASE, SECOND, actor="training")
        return own(*given, **kinds)

    monkeypatch.setattr(helm, "rollback", overtaken)
    assert probation().after_rating(BASE) is None
    assert activations.current(BASE).adapter == SECOND
