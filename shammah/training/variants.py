"""Other ways to ask the same: what one rated question is multiplied into, so that the lesson holds when it is asked
again in other words.

Made without a second model. Half of them are damaged on purpose: a prompt that lost some of its words, or of which the
key words alone are left, teaches more about what matters in it than any polite re-phrasing. Pure: the randomness is
handed in.
"""

import re
from collections.abc import Sequence
from random import Random

_WORD = re.compile(r"\S+")
_EDGE = re.compile(r"^\W+|\W+$")
# Words that say how something is asked, not what about.
_ASKING = frozenset(
    """a an the is are was were be been am do does did can could should would will shall may might must i you we he she
    it they me us him her them my your our his its their this that these those there here of to in on at for from with
    by as and or but if so than then what which who whom whose when where why how please tell show give say let know
    want need like about write make suggest draft into out up down over any some one ones s re ve ll d t m not no just
    also hey hi hello use used using""".split()
)
_GREETINGS = ("Hi! ", "Hello, ", "Hey, ", "Quick question: ", "Good morning. ", "Sorry, one more thing: ", "Ok, ")
_ENDINGS = (" Thanks!", " Please.", " Thank you.", " I forgot.", " Just the answer, please.")
_ASKS = (
    "Tell me: {0}",
    "Can you tell me: {0}",
    "Do you know: {0}",
    "I'd like to know: {0}",
    "Remind me: {0}",
    "{0} Do you know?",
    "A colleague asks: {0}",
    "Question: {0}",
)
_ABOUT = (
    "{0}?",
    "Tell me about {0}.",
    "What about {0}?",
    "{0}, please.",
    "I need {0}.",
    "Question about {0}.",
    "{0}: how is it here?",
    "Say something on {0}.",
)
_TAKES = "is|are|was|were|does|do|did|can|should|will|must"
# What stands in the groups is taken over as it is, so only forms are here in which it stays grammatical.
_FORMS = tuple(
    (re.compile(pattern, re.IGNORECASE), forms)
    for pattern, forms in (
        (
            r"(?:what is|what's) the name of (.+)",
            ("What is {0} called?", "What's {0} called?", "How is {0} called?", "Name {0}.", "{0}: what's it called?"),
        ),
        (
            r"(?:what is|what's) (.+)",
            ("Tell me {0}.", "Which is {0}?", "{0}?", "I need to know {0}.", "Remind me of {0}."),
        ),
        (
            r"(?:what|which) (\w+) (?:does|do|did) (.+?) (\w+)",
            ("The {0} that {1} {2}?", "Which is the {0} of {1}?", "{1}: which {0}?", "{1} {2} which {0}?",
             "Tell me which {0} {1} {2}."),
        ),
        (
            r"(?:what|which) (\w+) do (?:we|i) (?:use|have|run|take|need)",
            ("Our {0}?", "What's our {0} called?", "Which is our {0}?"),
        ),
        (r"(?:what|which) (\w+) (?:is|are) (.+)", ("Which {0} is {1}?", "{1}: what {0}?", "Tell me the {0}: {1}.")),
        (
            r"(?:what|which) (\w+(?: \w+)?) should (?:i|we) (.+)",
            ("Which {0} do I {1}?", "Which {0} is right to {1}?", "Tell me which {0} to {1}.", "{0} to {1}?"),
        ),
        (r"who (.+)", ("Tell me who {0}.", "Do you know who {0}?", "Which person {0}?", "The one who {0}, who is it?")),
        (
            r"how (?:do|can|should|would) (?:i|we|you) (.+)",
            ("Show me how to {0}.", "How to {0}?", "What's the way to {0}?", "I want to {0}. How?", "{0}: how?",
             "Help me {0}.", "How does one {0}?", "Give me an example of how to {0}."),
        ),
        (r"where (.+)", ("Tell me where {0}.", "In which place {0}?", "I'm looking for it: where {0}?")),
        (r"when (.+)", ("Tell me when {0}.", "At what time {0}?", "On which day {0}?")),
        (
            r"(?:write|give|make|suggest|draft|compose)(?: me)? (.+)",
            ("Give me {0}.", "I need {0}.", "Write {0}, please.", "Can you write {0}?", "Make {0}.",
             "What would be {0}?", "Suggest {0}.", "{0}, please."),
        ),
        (rf"(?:{_TAKES}) (.+)", ("Tell me whether {0}.", "{0}?")),
    )
)  # fmt: skip


def key_words(prompt: str) -> list[str]:
    """The words of a prompt that say what it is about, in their order; all of them where there are no others."""
    return telling_words(prompt) or _bare_words(prompt)


def telling_words(prompt: str) -> list[str]:
    """The same, without a way out: none where every word only asks."""
    return [word for word in _bare_words(prompt) if _plain(word) not in _ASKING]


def _bare_words(prompt: str) -> list[str]:
    return [bare for word in _WORD.findall(prompt) if (bare := _EDGE.sub("", word))]


def variant(prompt: str, random: Random, *, key_words_share: float, dropout: float) -> str:
    """Another way to ask this, never empty."""
    words = key_words(prompt)
    if words and random.random() < key_words_share:
        return _from_key_words(words, random)
    asked = _rephrased(prompt, random)
    return _worn(asked, random, dropout=dropout) or prompt


def _from_key_words(words: Sequence[str], random: Random) -> str:
    chosen = list(words)
    if len(chosen) > 3 and random.random() < 0.5:
        del chosen[random.randrange(len(chosen))]
    if random.random() < 0.35:
        random.shuffle(chosen)
    text = " ".join(chosen)
    if random.random() < 0.5:
        text = random.choice(_ABOUT).format(text)
    return _cased(text, random)


def _rephrased(prompt: str, random: Random) -> str:
    text = prompt.strip()
    forms = other_forms(text)
    if forms and random.random() < 0.5:
        text = random.choice(forms)
    choice = random.random()
    if choice < 0.2:
        text = random.choice(_ASKS).format(_lowered(text))
    elif choice < 0.3:
        text = random.choice(_GREETINGS) + text
    elif choice < 0.4:
        text = text + random.choice(_ENDINGS)
    return _cased(text, random)


def other_forms(prompt: str) -> list[str]:
    """The same question or request in other grammatical forms, where its form is one that we know."""
    text = prompt.strip().rstrip("?.! ")
    made: list[str] = []
    for pattern, forms in _FORMS:
        match = pattern.fullmatch(text)
        if match:
            made += [form.format(*match.groups()) for form in forms]
    return made


def _worn(text: str, random: Random, *, dropout: float) -> str:
    """Some words are lost, key words half as often as the others."""
    kept = [word for word in _WORD.findall(text) if random.random() >= _loss(word, dropout)]
    return " ".join(kept)


def _loss(word: str, dropout: float) -> float:
    return dropout if _plain(word) in _ASKING else dropout / 2


def _cased(text: str, random: Random) -> str:
    choice = random.random()
    if choice < 0.2:
        text = text.lower()
    elif choice < 0.24:
        text = text.upper()
    if random.random() < 0.25:
        text = text.rstrip("?.! ")
    return text


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _plain(word: str) -> str:
    return _EDGE.sub("", word).casefold().replace("'s", "").replace("’s", "")
