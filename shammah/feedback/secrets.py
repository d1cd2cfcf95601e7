"""Finding what must not be stored, and putting a mark in its place. Works on the text alone: nothing is ever looked up.

The patterns of detect-secrets are used for the keys it knows well, and its measure of entropy. Its scanner is not: that
may ask a service whether a key is valid, reads settings and works line by line. What it lacks is added here, and in
`passwords`, which reads names and values.

Values that stand for a secret (YOUR_TOKEN, <password>, changeme) are left alone, and so are hashes, UUIDs and long
names: whoever is asked about each commit hash stops reading the question.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from shammah.feedback.passwords import looks_made_up, passwords, stands_for_one

# Where findings overlap, the first of these names the whole.
KINDS = (
    "private key",
    "API key",
    "access token",
    "password",
    "card number",
    "e-mail address",
    "high-entropy string",
)
_MARK = re.compile(rf"\[redacted ({'|'.join(KINDS)})\]")


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text with marks in place of secrets, and the kinds that were found in it now."""

    text: str
    kinds: tuple[str, ...]


def redact(text: str) -> Redacted:
    """Put a mark in the place of each secret, until none is left: taking one out can bring another to light."""
    kinds: list[str] = []
    while found := find(text):
        parts, end = [], 0
        for finding in found:
            parts += [text[end : finding.start], f"[redacted {finding.kind}]"]
            end = finding.end
        text = "".join([*parts, text[end:]])
        kinds += [finding.kind for finding in found]
    return Redacted(text, tuple(dict.fromkeys(kinds)))


def redacted_kinds(text: str) -> tuple[str, ...]:
    """The kinds of secrets that were redacted in this text before: those of its marks."""
    return tuple(dict.fromkeys(_MARK.findall(text)))


def find(text: str) -> list[Finding]:
    """All secrets in the order of the text, none of them overlapping, and none in the marks of earlier ones."""
    text = _blanked(text, [mark.span() for mark in _MARK.finditer(text)])
    found = _joined(
        [
            *_private_keys(text),
            *_known_tokens(text),
            *(Finding(*found) for found in passwords(text)),
            *_basic_credentials(text),
            *_card_numbers(text),
            *_random_strings(text),
        ]
    )
    # Only now: the end of a password in a URL and the host after it would make an address.
    rest = _blanked(text, [(one.start, one.end) for one in found])
    return _joined([*found, *_addresses(rest)])


def _joined(found: list[Finding]) -> list[Finding]:
    """In the order of the text, one finding for those that overlap."""
    joined: list[Finding] = []
    for one in sorted(found, key=lambda one: (one.start, one.end)):
        if joined and one.start < joined[-1].end:
            last = joined.pop()
            one = Finding(min(last.kind, one.kind, key=KINDS.index), last.start, max(last.end, one.end))
        joined.append(one)
    return joined


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with these stretches made unreadable: no pattern takes a NUL."""
    parts, last = [], 0
    for start, end in spans:
        parts += [text[last:start], "\0" * (end - start)]
        last = end
    return "".join([*parts, text[last:]])


# Private keys: from the first line to the last, or to the end of the text where the last is missing

_KEY_BEGIN = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}|PuTTY-User-Key-File-\d:")
_KEY_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}|Private-MAC: *\w+")
_KEY_MATERIAL = re.compile(r"[A-Za-z0-9+/=]{20}")
_KEY_HEADERS_LENGTH = 1000


def _private_keys(text: str) -> Iterator[Finding]:
    """Only those with key material: the first line alone is what a text about keys quotes."""
    ends = [end.end() for end in _KEY_END.finditer(text)]
    done = which = 0
    for begin in _KEY_BEGIN.finditer(text):
        if begin.start() < done:
            continue
        while which < len(ends) and ends[which] <= begin.end():
            which += 1
        end = ends[which] if which < len(ends) else len(text)
        if _KEY_MATERIAL.search(text, begin.end(), min(end, begin.end() + _KEY_HEADERS_LENGTH)):
            yield Finding("private key", begin.start(), end)
            done = end


# Keys and tokens of known form


# The key of a provider, by what it starts with. All of it, so that one that is written into a longer word stays.
_TOKENS = tuple(
    (kind, hint, re.compile(rf"(?<![A-Za-z0-9_-]){pattern}"))
    for kind, hint, pattern in (
        ("API key", "sk-", r"sk-(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{20,}"),  # OpenAI, Anthropic, DeepSeek
        ("API key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),  # Google
        ("API key", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
        ("API key", "k_test_", r"[rs]k_test_[A-Za-z0-9]{16,}"),  # Stripe
        ("API key", "whsec_", r"whsec_[A-Za-z0-9+/]{24,}"),
        ("API key", "gsk_", r"gsk_[A-Za-z0-9]{40,}"),  # Groq
        ("API key", "xai-", r"xai-[A-Za-z0-9]{40,}"),
        ("API key", "pplx-", r"pplx-[A-Za-z0-9]{40,}"),
        ("API key", "AKC", r"AKC[a-zA-Z0-9]{50,}"),  # Artifactory
        ("API key", "AccountKey=", r"AccountKey=(?P<value>[A-Za-z0-9+/]{40,}={0,2})"),  # Azure
        ("access token", "hf_", r"hf_[A-Za-z0-9]{30,}"),  # Hugging Face
        ("access token", "glpat-", r"glpat-[A-Za-z0-9_-]{16,}"),
        ("access token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,}"),
        ("access token", "xox", r"xox[abceoprs]-[A-Za-z0-9-]{10,}"),  # Slack
        ("access token", "xapp-", r"xapp-\d-[A-Za-z0-9-]{20,}"),
        ("access token", "ya29.", r"ya29\.[A-Za-z0-9_-]{20,}"),
        ("access token", "npm_", r"npm_[A-Za-z0-9]{36}"),
        ("access token", "_authToken=", r"_authToken=(?P<value>[A-Za-z0-9+/=_-]{16,})"),
        ("access token", "dop_v1_", r"dop_v1_[a-f0-9]{64}"),  # DigitalOcean
        ("access token", "dapi", r"dapi[a-f0-9]{32}"),  # Databricks
        ("access token", "hvs.", r"hvs\.[A-Za-z0-9_-]{24,}"),  # Vault
        ("access token", "shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),  # Shopify
        ("access token", "eyJ", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),  # JWT
        ("private key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    )
)
_BEARER = re.compile(
    r"\b(?:[Bb]earer|[Aa]uthorization[\"']?: ?[\"']?[Tt]oken)[ \t]{1,4}(?P<value>[\w.~+/-]{12,2000}=*)"
)
_BASIC = re.compile(r"\b[Bb]asic[ \t]{1,4}(?P<value>[A-Za-z0-9+/]{8,400}={0,2})(?![A-Za-z0-9+/])")
# Parts of an example key that nobody could take for a real one.
_STENCILLED = re.compile(r"[xX]{5}|\*{3}|\.{3}|…|<|\$\{|\{\{|(?i:your|place.?holder|redacted)")
# The detectors of detect-secrets that know a key by its form and never read a text twice.
_DETECTORS = (
    ("aws", "AWSKeyDetector", "API key"),
    ("discord", "DiscordBotTokenDetector", "access token"),
    ("github_token", "GitHubTokenDetector", "access token"),
    ("gitlab_token", "GitLabTokenDetector", "access token"),
    ("mailchimp", "MailchimpDetector", "API key"),
    ("pypi_token", "PypiTokenDetector", "access token"),
    ("sendgrid", "SendGridDetector", "API key"),
    ("slack", "SlackDetector", "access token"),
    ("square_oauth", "SquareOAuthDetector", "access token"),
    ("stripe", "StripeDetector", "API key"),
    ("telegram_token", "TelegramBotTokenDetector", "access token"),
    ("twilio", "TwilioKeyDetector", "API key"),
)
# What the shortest key of theirs has in it. Most texts do not, and so never load the library.
_LONG_WORD = re.compile(r"[A-Za-z0-9_-]{16,}")


@cache
def _detectors() -> tuple[tuple[str, re.Pattern[str]], ...]:
    modules = {module: import_module(f"detect_secrets.plugins.{module}") for module, _, _ in _DETECTORS}
    return tuple(
        (kind, pattern) for module, name, kind in _DETECTORS for pattern in getattr(modules[module], name).denylist
    )


def _known_tokens(text: str) -> Iterator[Finding]:
    spans = [(kind, match.span("value" if match.re.groups else 0)) for kind, match in _token_matches(text)]
    if any(re.search("[0-9]", word[0]) for word in _LONG_WORD.finditer(text)):
        for kind, pattern in _detectors():
            for match in pattern.finditer(text):
                # Some of its patterns have the secret in a group, others only the beginning of it.
                groups = [match.span(group) for group in range(1, match.re.groups + 1)]
                spans.append((kind, next((span for span in groups if span[1] - span[0] >= 16), match.span())))
    for kind, (start, end) in spans:
        if not _STENCILLED.search(text, start, end):
            yield Finding(kind, start, end)


def _token_matches(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    for kind, hint, pattern in _TOKENS:
        if hint in text:
            yield from ((kind, match) for match in pattern.finditer(text))
    for match in _BEARER.finditer(text):
        if looks_made_up(match["value"]):
            yield "access token", match


def _basic_credentials(text: str) -> Iterator[Finding]:
    """The header of HTTP: user and password in base64."""
    for match in _BASIC.finditer(text):
        user, colon, password = (_decoded(match["value"]) or "").partition(":")
        if colon and not stands_for_one(password) and password != user:
            yield Finding("password", *match.span("value"))


# Card numbers

_CARD = re.compile(
    "(?<![\\w-])(?<![0-9][.,])(?:[0-9]{13,19}|[0-9]{4}(?:[ \u00a0-][0-9]{1,6}){2,5}"
    "|[0-9]{4}\\.(?:(?:[0-9]{4}\\.){2}[0-9]{4}|[0-9]{6}\\.[0-9]{5}))(?![\\w-])(?![.,][0-9])"
)
# The beginnings of numbers, and how many digits follow: Visa, Mastercard, American Express, Discover, Diners, JCB,
# UnionPay.
_CARD_BRAND = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011\d{12}|4[4-9]\d{13}|5\d{14})|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)


# Twice a digit, as the sum of its own digits.
_DOUBLED = str.maketrans("0123456789", "0246813579")


def _card_numbers(text: str) -> Iterator[Finding]:
    for match in _CARD.finditer(text):
        groups = re.split("[ \u00a0.-]", match[0])
        # A date or the number on the back may follow.
        for count in range(len(groups), 2 if len(groups) > 1 else 0, -1):
            digits = "".join(groups[:count])
            if _CARD_BRAND.fullmatch(digits) and _luhn(digits):
                yield Finding("card number", match.start(), match.start() + len(digits) + count - 1)
                break


def _luhn(digits: str) -> bool:
    doubled = digits[-2::-2].translate(_DOUBLED)
    return len(set(digits)) > 1 and sum(map(int, doubled + digits[::-2])) % 10 == 0


# E-mail addresses

_AT_DOMAIN = re.compile(r"@((?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}([A-Za-z]{2,24}))(?![\w(\[=/-])")
_LOCAL = re.compile(r"(?<![\w.+%/-])[A-Za-z0-9][\w.+%-]{0,63}\Z")
_FILE_ENDING = re.compile("(?i:png|jpe?g|gif|svg|webp|ico|m?js|css|html|json|txt|pdf|tar|gz|whl)")
_INVENTED_LOCAL = re.compile(
    r"(?i:your.*|.*name|user\d?|e?-?mail|someone|somebody|test|me|you|foo|bar|hello|contact|info|support|admin|sender|"
    r"recipient|to|from|first\.last|person|customer|client|someuser|abc|[a-z])"
)
_INVENTED_DOMAIN = re.compile(
    r"(?i:(?:.*\.)?(?:example|test|invalid|localhost|(?:your|my|some)?-?(?:example|domain|company|email|mail|host|server|"
    r"site|website|organization|test)\.[a-z]{2,4}))"
)
_LOGIN = re.compile(r"\b(?:ssh|scp|sftp|rsync|mosh|ssh-copy-id|git)\b[^\n|;&]*\Z")


def _addresses(text: str) -> Iterator[Finding]:
    """Addresses of people; logins on machines (ssh, git) and invented ones (name@example.com) are none."""
    for domain in _AT_DOMAIN.finditer(text) if "@" in text else ():
        before = text[max(0, domain.start() - 200) : domain.start()]
        local = _LOCAL.search(before, max(0, len(before) - 65))
        if local is None or _FILE_ENDING.fullmatch(domain[2]) or len(domain[1].split(".")[-2]) < 2:
            continue
        if re.match(r":[\w~./-]", text[domain.end() : domain.end() + 2]) or _LOGIN.search(before):
            continue
        if re.fullmatch("(?i:git|no-?reply|donotreply|root)", local[0]) or local[0].lower().startswith("your"):
            continue
        if not (_INVENTED_LOCAL.fullmatch(local[0]) and _INVENTED_DOMAIN.fullmatch(domain[1])):
            yield Finding("e-mail address", domain.start() - len(local[0]), domain.end())


# Strings of high entropy: random letters and digits in quotes or after a sign

_RUN = re.compile(r"(?<=[\"'`=])[A-Za-z0-9+/_-]{20,2000}={0,2}(?=[\"'`\s,;)}\]]|\Z)")
_HASH_LENGTHS = {24, 32, 40, 56, 64, 96, 128}
_HASH_PART = re.compile("(?<![A-Za-z0-9])[0-9a-f]{8,}(?![A-Za-z0-9])")
_WORDS = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{4,}")
_PUBLIC = re.compile(r"sha\d{3}-|AAAA[BCE]3Nza|iVBOR|R0lGOD|/9j/", re.IGNORECASE)
_SEQUENCE = re.compile("abcdefgh|01234567|qwertyui", re.IGNORECASE)
_IN_QUERY = re.compile(r"[?&][\w.-]{1,40}=\Z")


def _random_strings(text: str) -> Iterator[Finding]:
    """Hashes, UUIDs, words in a row and base64 of a text look random too, and are known by their form."""
    for match in _RUN.finditer(text):
        if _looks_random(match[0]) and not _IN_QUERY.search(text, max(0, match.start() - 50), match.start()):
            yield Finding("high-entropy string", *match.span())


def _looks_random(run: str) -> bool:
    if re.fullmatch("[0-9a-fA-F-]+", run):
        digits = run.replace("-", "")
        return len(digits) not in _HASH_LENGTHS and len(digits) >= 32 and _entropy(run, hexadecimal=True) > 3
    # The end of a name is often a hash: recent-models-64f9a55bb311.
    run = _HASH_PART.sub("", run)
    if len(run) < 20 or not all(re.search(kind, run) for kind in ("[a-z]", "[A-Z]", "[0-9]")) or _PUBLIC.match(run):
        return False
    if 2 * sum(len(word) for word in _WORDS.findall(run)) >= len(run) or _SEQUENCE.search(run):
        return False
    # 4.5 bits, the library's own limit, are out of reach for short ones: twenty different letters have 4.3.
    return _entropy(run) > min(4.5, 0.88 * math.log2(len(run))) and _decoded(run) is None


def _entropy(run: str, *, hexadecimal: bool = False) -> float:
    """Bits for each character, as detect-secrets counts them."""
    base64_measure, hexadecimal_measure = _measures()
    return (hexadecimal_measure if hexadecimal else base64_measure)(run)


@cache
def _measures() -> tuple[Callable[[str], float], Callable[[str], float]]:
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString, HexHighEntropyString

    return Base64HighEntropyString().calculate_shannon_entropy, HexHighEntropyString().calculate_shannon_entropy


def _decoded(run: str) -> str | None:
    """The text that is written in base64, if it is one."""
    try:
        text = base64.b64decode(run + "=" * (-len(run) % 4), altchars=b"-_" if "-" in run or "_" in run else None)
        return text.decode() if text.decode().isprintable() else None
    except (binascii.Error, ValueError):
        return None
