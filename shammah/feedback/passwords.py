"""Passwords and keys that only their surroundings give away: a name that says so, a sign, and a value. Pure.

The name alone is not enough, or each line of code about passwords would hold one. So the value has to look made up:
letters and digits in one word, no code, no place on a disk, and nothing that only shows where a secret would stand.
"""

import re
from collections.abc import Iterator

_SIGN = r"""
    (?: [ \t]{0,4} (?: : [ \t]{0,4} (?:str|String|string|SecretStr) [ \t]{0,4} )?
            (?P<sign> := | => | ={1,3} | !==? | : ) [ \t]{0,4}
      | [ \t]{1,4} (?:is|was|to) [ \t]{0,4} :? [ \t]{1,4}
      | [ \t]{1,4} (?=') )
"""
_VALUE = r"""
    (?= [fFrRbB]? \\? " (?P<double> (?: [^"\\\n\0] | \\[^"\n\0] ){1,200} )
      | [fFrRbB]? \\? ' (?P<single> (?: [^'\\\n\0] | \\[^'\n\0] ){1,200} )
      | ` (?P<ticked> [^`\n\0]{1,200} )
      | (?P<bare> [^\s"'`,;\0]{1,100} ) )
"""
_ASSIGNED = re.compile(
    r"""(?P<name>
        (?P<api_key> (?:api|account|encryption|signing|master|session|access|secret(?:[_-]?access)?) [ _-]?key )
      | (?P<token> token )
      | (?P<password> password | passwort | passphrase | passwd | pwd | (?<![A-Za-z0-9]) pw | secret
            | identified[ ]by ) )
    (?: [_-]? (?:value|string|prod|live|dev|test|staging|main) )? [0-9]{0,3} \\? ["'\]]{0,2}
    """
    + _SIGN
    + _VALUE,
    re.VERBOSE | re.IGNORECASE,
)
_IN_ARGUMENT = re.compile(r"--(?:password|passphrase|token|api-key|secret)[ \t]{1,4}(?P<bare>[^\s\"'`,;\0]{1,200})")
_IN_USER_OPTION = re.compile(r"(?:\s-u|--user)[ =]{0,3}[\"']?[\w.@-]{1,80}:(?P<bare>[^\s\"'`\0]{1,200})")
_IN_URL = re.compile(r"://(?P<user>[^\s/:@\"'`<>\0]{0,100}):(?P<bare>[^\s/@\"'`<>\0]{1,200})@")
_VALUES = ("double", "single", "ticked", "bare")


def passwords(text: str) -> Iterator[tuple[str, int, int]]:
    """Each as its kind, start and end."""
    done = 0
    for match in _ASSIGNED.finditer(text):
        if match.start() < done:
            continue
        group = next(name for name in _VALUES if match[name] is not None)
        kind = "API key" if match["api_key"] else "access token" if match["token"] else "password"
        value = _bare(match[group]) if group == "bare" else match[group]
        # In a file of variables (NAME=value) nothing but the value can follow.
        variable = group == "bare" and match["name"].isupper() and match["sign"] == match[0][-1] == "="
        sure = variable or (kind == "password" and group == "bare" and _is_setting(match, value))
        if _is_password(
            value, quoted=group != "bare", sure=sure, words=kind == "password" and group in ("double", "single")
        ):
            done = match.start(group) + len(value)
            yield kind, match.start(group), done
    for pattern in (_IN_ARGUMENT, _IN_USER_OPTION):
        for match in pattern.finditer(text):
            value = _bare(match["bare"])
            if _is_password(value):
                yield "password", match.start("bare"), match.start("bare") + len(value)
    for match in _IN_URL.finditer(text):
        if match["bare"] != match["user"] and not stands_for_one(match["bare"]):
            yield "password", *match.span("bare")


def _bare(value: str) -> str:
    """A value without quotes, up to where its sentence, its bracket or the next field of a URL begins."""
    return re.split(r"&\w+=|[<>]", value, maxsplit=1)[0].rstrip(",;.:!?)}]*\\")


_LONG_WORD = re.compile(r"(?:[a-z]{12,}|[A-Z]{12,}|[A-Z][a-z]{11,})\Z")
_IN_CODE = re.compile(r"(?:\(|,[ \t]{0,4}|->|\b(?:self|this|cls)\.)[\w-]{0,40}\Z")


def _is_setting(match: re.Match[str], value: str) -> bool:
    """Whether a long word is set as in a file of settings (password=correcthorsebattery), not by code as an argument
    or an attribute."""
    if match["sign"] != "=" or match[0][-1] != "=":
        return False
    whole, before = match["bare"], match.string[max(0, match.start() - 50) : match.start()]
    return bool(_LONG_WORD.match(value)) and not whole[len(value) :].startswith(")") and not _IN_CODE.search(before)


_NAME_PATH = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->)[A-Za-z_]\w*)+")
_LOCATION = re.compile(r"(?:~|\.{0,2})/|[A-Za-z]:\\|https?:|file:", re.IGNORECASE)
_SIGNS_INSIDE = re.compile(r"[A-Za-z0-9][!@#$%^*?~&+]+[A-Za-z0-9]")


def _is_password(value: str, *, quoted: bool = False, sure: bool = False, words: bool = False) -> bool:
    """Whether this is a password that somebody uses, rather than code, a description or a stand-in.

    `sure` takes a plain word as well, `words` takes signs inside a word and long rows of words.
    """
    if len(value) < 6 or _LOCATION.match(value) or re.search(r"\s", value):
        return False
    if not quoted and (re.search(r"[(\[{]", value) or (not sure and _NAME_PATH.fullmatch(value))):
        return False
    likely = sure or looks_made_up(value) or (words and (_SIGNS_INSIDE.search(value) or len(value) >= 20))
    return bool(likely) and not stands_for_one(value)


_MIXED = re.compile("(?<![A-Za-z0-9])(?:[0-9]+[A-Za-z]|[A-Za-z]+[0-9])[A-Za-z0-9]*")
_TECHNICAL = re.compile(
    r"(?:base|sha|md|utf|oauth|ipv|rsa|aes|hs|rs|es|ps|pbkdf|bip|http|web|py|python|top|level|part|step|word|gpt|v)\d+\w{0,3}"
    r"|argon2\w*|ed25519|x25519|k8s|i18n|l10n|word2vec|\d+(?:st|nd|rd|th|[a-z]|[kmgt]b|px|em|rem|ms|min|bits?|bytes?|chars?)",
    re.IGNORECASE,
)


def looks_made_up(value: str) -> bool:
    """Letters and digits in one word, as in hunter2, unless it is a term (sha256, 128bit)."""
    return any(not _TECHNICAL.fullmatch(word) for word in _MIXED.findall(value))


_STENCIL_START = re.compile(r"[<$%{\[&]|\\[(\[{]")
_STENCIL_INSIDE = re.compile(
    r"x{4}|\*{3}|\.{3}|…|\$\{|\{|your|place.?holder|change.?me|replace|redacted|dummy|insert.", re.I
)
# Longer words first: what was read is not read again in another way.
_STENCIL_WORDS = re.compile(
    r"(?:place.?holder|undefined|generated|changeme|database|password|passwort|postgres|supabase|wordpress|username|"
    r"credential|required|optional|default|example|invalid|integer|strong|secret|sample|string|hidden|random|secure|"
    r"object|number|actual|access|client|admin|redis|mysql|mongo|guest|token|value|super|login|valid|wrong|empty|"
    r"false|passwd|phrase|right|user|pass|text|test|fake|real|root|this|here|some|with|very|long|none|null|true|todo|demo|"
    r"prod|auth|plain|hash|hashed|self|args|api|key|pwd|new|old|two|one|the|foo|bar|baz|qux|not|my|db|is|to|in|a|x|[\W_])++",
    re.IGNORECASE,
)


def stands_for_one(value: str) -> bool:
    """Whether a value only shows where a secret would be written."""
    return bool(
        len(set(value)) <= 2
        or _STENCIL_START.match(value)
        or _STENCIL_INSIDE.search(value)
        or _STENCIL_WORDS.fullmatch(value)
    )
