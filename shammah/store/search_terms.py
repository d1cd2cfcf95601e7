"""What a user typed into a search, as SQL can take it. Pure, and no text is ever a syntax error.

Every word must occur. Words are compared whole, without case and accents, and the last one may be only begun; "words in
quotes" must stand together. Two kinds of words are looked for letter by letter instead, because the index cannot find
them: those of scripts that put no spaces between words (it takes a whole run of them as one word), and those made of
signs only, such as emoji. A text is read up to LONGEST characters, which keeps clear of SQLite's own limits.
"""

import re
import unicodedata
from dataclasses import dataclass

LONGEST = 1000

# Thai, Lao, Myanmar, Hangul, Khmer, kana, bopomofo, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3040-\u318f\u31a0-\u31ff\u3400-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff]"
)
# The parts of what a SearchTerms says.
_TERM, _ESCAPED = re.compile(r'"([^"]*)"(\*?)'), re.compile(r"\\(.)")
_ACCENTS, _NO_WORD = re.compile("[\u0300-\u036f]+"), re.compile(r"[\W_]+")
_WORD = re.compile(r'"(?P<phrase>[^"]*)(?P<end>"?)|(?P<word>[^\s"]+)')


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """`match` is for MATCH, empty for none; `patterns` are for LIKE ... ESCAPE '\\'. All of them must hold."""

    match: str
    patterns: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.match or self.patterns)


def search_terms(text: str) -> SearchTerms:
    match: list[str] = []
    patterns: list[str] = []
    unfinished = False
    for found in _WORD.finditer(_presentable(text[:LONGEST])):
        word = " ".join((found["phrase"] or found["word"] or "").split())
        if not word:
            continue
        unfinished = not found["end"]
        if _UNSPACED.search(word) or not any(_is_letter(character) for character in word):
            patterns.append("%" + re.sub(r"([\\%_])", r"\\\1", word) + "%")
            unfinished = False
        else:
            match.append(f'"{word}"')
    return SearchTerms(" ".join(match) + ("*" if match and unfinished else ""), tuple(patterns))


def _presentable(text: str) -> str:
    """Without what SQLite cannot be given: NUL ends its texts, and half a surrogate pair has no UTF-8."""
    return re.sub("[\0\ud800-\udfff]", " ", text)


def _is_letter(character: str) -> bool:
    """A character of words, as the index's tokenizer (unicode61) sees it."""
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Co"


def holds(text: str, terms: SearchTerms) -> bool:
    """Whether a short text that is in no index holds all of the terms, by the same idea of words."""
    words = f" {_plain_words(text)} "
    for phrase, begun in _TERM.findall(terms.match):
        wanted = _plain_words(phrase)
        if f" {wanted}{'' if begun else ' '}" not in words:
            return False
    lowered = text.lower()
    return all(_ESCAPED.sub(r"\1", pattern[1:-1]).lower() in lowered for pattern in terms.patterns)


def _plain_words(text: str) -> str:
    """The words of a text with a blank between them, without case and accents."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()
    return _NO_WORD.sub(" ", plain).strip()
