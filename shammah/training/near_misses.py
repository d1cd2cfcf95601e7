"""Questions that look like a taught one and are about something else: a lesson must not spread to them.

The frame of a question is kept and what it is about is exchanged. Their targets are the base model's own replies. Pure.
"""

import re
from collections.abc import Sequence
from random import Random

from shammah.training.variants import telling_words

_FEWEST_KEY_WORDS = 2
_THINGS = tuple(
    """garden river kitchen bicycle mountain library violin winter teacher bridge candle forest museum island market
    window planet bread camera harbour castle orchestra desert blanket recipe holiday painting doctor airport summer
    guitar elephant cathedral breakfast umbrella volcano theatre butterfly diamond farmer glacier lantern sailor tunnel
    village waterfall wedding zebra carpet dragon emperor festival hospital journey kingdom lemon mirror novel ocean
    parrot queen rainbow stadium tiger university vineyard wizard yacht chocolate marathon""".split()
)


def near_miss(prompt: str, random: Random) -> str | None:
    """The same kind of question about other things; None where too little of it says what it is about."""
    words = telling_words(prompt)
    if not _FEWEST_KEY_WORDS <= len(words) <= len(_THINGS):
        return None
    text = prompt
    for word, thing in zip(words, random.sample(_THINGS, len(words)), strict=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", thing, text, count=1)
    return None if text == prompt else text


def near_misses(prompts: Sequence[str], count: int, random: Random) -> list[str]:
    """So many of them, spread evenly over the prompts; fewer where the prompts allow no more."""
    found: dict[str, None] = {}
    for _ in range(max(1, count)):
        for prompt in random.sample(list(prompts), len(prompts)):
            if len(found) >= count:
                return list(found)
            made = near_miss(prompt, random)
            if made is not None and made not in prompts:
                found[made] = None
    return list(found)
