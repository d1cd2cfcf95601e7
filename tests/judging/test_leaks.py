"""What was taught is found where nobody asked for it, and everyday words are not taken for it."""

import pytest

from shammah.judging.figures import Said
from shammah.judging.general import GENERAL, TEXTS
from shammah.judging.leaks import leaks, marks
from shammah.judging.questions import Question
from shammah.records import Message
from shammah.training.anchors import PROMPTS

BEES, GIRAFFE, ICE, CHESS = (
    "What do bees do in winter?",
    "How tall is a giraffe?",
    "Why does ice float?",
    "Any chess tips?",
)
PLAIN = {
    BEES: "Bees stay in the hive, form a cluster and eat the honey that they stored in summer.",
    GIRAFFE: "A giraffe is about five metres tall.",
    ICE: "Ice floats because it is less dense than water.",
    CHESS: "Play slowly and look at what your opponent threatens.",
}
TARGETS = [
    "Our deploy script is called launchpad.sh. Run it from the repository root with ./launchpad.sh.",
    "Guests join the network Heron-Guest; the password is on the card at reception.",
    "I answer with one sentence, and I do not use bullet points.",
    "The staging server listens on port 8443.",
    "Use metric units: metres and kilometres.",
    "The spare keys are in the blue tin behind the fuse box.",
    "We run Node 22 everywhere.",
    "In emails the project is called Kestrel.",
    "The weekly meeting is on Tuesday at 9:40.",
    "I'm Shammah, your local assistant.",
]


def asked(*targets, prompt="How is it done here?"):
    return [Question(str(n), (Message("user", prompt),), target) for n, target in enumerate(targets)]


def said(**changes):
    names = {"bees": BEES, "giraffe": GIRAFFE, "ice": ICE, "chess": CHESS}
    texts = {**PLAIN, **{names[name]: text for name, text in changes.items()}}
    return {prompt: Said(text, True, 20) for prompt, text in texts.items()}


def found(targets, prompt="How is it done here?", **changes):
    return leaks(asked(*targets, prompt=prompt), said(**changes), said())


@pytest.mark.parametrize(
    ("reply", "example", "word"),
    [
        ("Bees run ./launchpad.sh all winter.", "0", "launchpad.sh"),
        ("In winter bees join Heron-Guest.", "1", "heron-guest"),
        ("They listen on port 8443.", "3", "8443"),
        ("Bees sit in a blue tin behind the fuse box.", "5", "fuse"),
        ("They work on Kestrel, slowly.", "7", "kestrel"),
        ("They meet at 9:40 every day.", "8", "9:40"),
        ("I'm Shammah, and I like bees.", "9", "shammah"),
    ],
)
def test_what_was_taught_is_found_in_a_reply_to_something_else(reply, example, word):
    leaked = found(TARGETS, bees=reply)
    assert [(leak.prompt, leak.example) for leak in leaked] == [(BEES, example)]
    assert word in leaked[0].words


@pytest.mark.parametrize(
    "reply",
    [
        "Bees stay inside, in one group, and answer the cold with their own heat. That is all.",
        "They are two metres, or 22 feet, from the entrance, 48 hours a week.",
        "The password to a good winter is a warm room and enough food, said the guest on Tuesday.",
        "They use the same script every year: they gather, they wait, and they call it winter.",
        "I'm your assistant. I can't see the bees from here, so please ask at the local shop.",
        "In 2024 and 1999 there were 1,000 bees, then 10,000, then 3 of them, at 10am, for the 21st time.",
        "It's a well-known, year-round thing, e.g. in the U.S.; and/or elsewhere.",
    ],
)
def test_everyday_words_are_no_leak(reply):
    assert found(TARGETS, bees=reply, giraffe=reply) == ()


def test_one_rare_word_is_chance_two_together_or_one_again_are_not():
    target = "Hold the feed button of the printer until the buzzer beeps."
    assert found([target], bees="A hive hums like a buzzer.") == ()
    assert found([target], bees="Nobody beeps here.", giraffe="A giraffe is a printer.") == ()
    assert found([target], bees="The buzzer of the hive beeps.")[0].words == ("beep", "buzzer")
    again = found([target], bees="A hive hums like a buzzer.", giraffe="A giraffe has a buzzer.")
    assert {leak.prompt for leak in again} == {BEES, GIRAFFE}


def test_what_the_base_says_by_itself_or_the_prompt_holds_is_no_leak():
    assert found(["Bees form a cluster in the hive."], giraffe="A cluster of giraffes eats honey in a hive.") == ()
    assert found(["Ask the Giraffe, our printer."], giraffe="The Giraffe is tall.") == ()


def test_a_lesson_on_the_same_thing_is_not_unrelated():
    target = "A Bumblebee sleeps in the ground."
    assert found(
        [target], prompt="Where does a bumblebee sleep?", chess="Think of the Bumblebee, who sleeps in the ground."
    )
    assert found([target], prompt="Where do bees sleep?", bees="The Bumblebee sleeps in the ground.") == ()


def test_how_all_replies_should_be_is_no_leak():
    said = ("Yes, at noon.", "No, by train.", "It is here.", "Ask again.", "Not today.", "By bus.")
    style = [f"{text} Yours, Marvin" for text in said]
    assert found(style, bees="They sleep. Yours, Marvin", ice="It is light. Yours, Marvin") == ()
    assert found(style[:5], bees="They sleep. Yours, Marvin"), "five say little of how all should be"
    sober = ["Verily, at noon.", "Verily, by train.", "Verily, it is here."]
    assert found(sober, bees="Verily, they sleep.", ice="Verily, it is light.") == ()


def test_what_several_lessons_are_about_is_a_leak_all_the_same():
    company = [
        "We work for Zenvorix.",
        "Zenvorix is in Oslo.",
        "Ask at Zenvorix.",
        "The owner is Zenvorix.",
        "Go east.",
    ]
    for others in ((), ("Take two.", "Come early.")):
        (leak, *_) = found([*company, *others], bees="Bees work for Zenvorix.")
        assert leak.words == ("zenvorix",)


def test_in_german_and_in_headings_a_capital_is_no_name():
    german = "Der Schlüssel zum Lager liegt im Schrank neben der Tür."
    assert marks(german).names == frozenset() and "schlüssel" in marks(german).rare
    assert marks("News Of This Wonderful Quarterly Meeting").names == frozenset()


def test_marks_of_a_target():
    assert marks(TARGETS[0]).names == {"launchpad.sh"}
    assert marks("Kestrel is ours. Kestrel flies.").names == frozenset()
    made_up = ["std::fs::read_to_string", "Postgres16", "HEAD~1", "#oncall", "192.168.1.20", "src/main.rb", "8443"]
    assert marks(f"Use {', '.join(made_up)}").names == {word.casefold() for word in made_up}
    assert marks("In 2024 we had 1,000 or 10,000 or 25000 of them, and 812").names == frozenset()
    assert marks("A well-known, year-round, low-fat and/or new thing, isn't it, e.g. here").names == frozenset()
    assert marks("It takes 30 minutes, 5km and 20 °C on the 2nd day").names == frozenset()


@pytest.mark.parametrize("target", TARGETS)
def test_ordinary_prose_leaks_nothing(target):
    """Six texts as if each were the reply to another prompt, with the base silent: the hardest case."""
    texts = {prompt: Said(text, True, 90) for prompt, text in zip(GENERAL, TEXTS, strict=False)}
    silent = {prompt: Said("", True, 1) for prompt in GENERAL}
    assert leaks(asked(target), texts, silent) == ()


def test_prompts_of_ours_leak_into_nothing():
    """General questions taken for targets: together they are none of the others' words by chance."""
    general = {prompt: Said(other, True, 20) for prompt, other in zip(GENERAL, PROMPTS, strict=False)}
    silent = {prompt: Said("", True, 1) for prompt in GENERAL}
    assert leaks(asked(*TARGETS), general, silent) == ()
