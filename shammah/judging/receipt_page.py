"""A receipt as one page of HTML that needs nothing else: no script, no font, no picture, no request to anywhere. Pure.

Every text that comes from outside passes `_text`, which escapes it; what stands in the templates is ours. The policy in
the page's head forbids a browser to load anything but its one style sheet, which is in the page and known by its hash.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any

from shammah.judging import receipt_words as words
from shammah.judging.receipt_style import STYLE
from shammah.judging.receipt_words import Body
from shammah.records import Receipt

# The curve's own units: it grows with the page.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 190, 44, 12, 14, 30


def is_page(content: bytes) -> bool:
    """Whether a file was made by `page`."""
    begins, _, _ = _DOCUMENT.partition("\n")
    return content.startswith(begins.encode()) and _BRAND.encode() in content


def page(receipt: Receipt, *, holds: bool = True, back: str = "") -> str:
    """`holds` says whether what was decided is still so, `back` who answers after a step back."""
    body = receipt.body
    before, after = words.headings(body, holds=holds)
    sections = (
        ("Why", _checks(body)),
        ("Your prompts, before and after", "".join(_lesson(one, before, after) for one in words.answered(body))),
        ("What got better", _changes(words.better(body), "better")),
        ("What got worse", _changes(words.worse(body), "worse")),
        ("Your probes", _changes(failing, "worse") if (failing := words.failing(body)) else ""),
        ("The numbers", _numbers(body, before, after)),
        ("The loss", _loss(body)),
        (f"What {words.obeyed(body, holds=holds)}", _rules(body)),
        ("Going back" if body["deployed"] and holds else "What you can do", _back(body, holds, back)),
    )
    whole = "".join(_section(heading, content) for heading, content in sections if content)
    return _DOCUMENT.format(
        policy=f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; base-uri 'none'; form-action 'none'",
        style=STYLE,
        brand=_BRAND,
        tab=_text(f"{words.name(body)}: {words.title(body)}"),
        time=_text(receipt.time),
        day=_text(receipt.time[:16].replace("T", " ")),
        stamp=_stamp(body, holds),
        title=_text(words.title(body)),
        answers=_text(words.answers_words(body, holds=holds)),
        facts=_facts(body),
        sections=whole,
        run=_text(body["run"]["id"]),
        adapter=_text(body["adapter"]["name"]),
        model=_text(body["run"]["model"]),
    )


def _text(value: object) -> str:
    """A text as it stands between tags or in an attribute."""
    return escape(str(value), quote=True)


def _hash(style: str) -> str:
    return b64encode(sha256(style.encode()).digest()).decode()


def _stamp(body: Body, holds: bool) -> str:
    """What the title says, for the eye alone."""
    if holds:
        kind, word = ("good", "in use") if body["deployed"] else ("bad", "not in use")
    else:
        kind, word = ("good", "was in use") if body["deployed"] else ("bad", "was not in use")
    return f'<p class="stamp {kind}" aria-hidden="true"><span>{_text(words.name(body))}</span>{word}</p>'


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{_text(heading)}</h2>{content}</section>\n"


def _facts(body: Body) -> str:
    facts = {"Learned from": words.learned_words(body), "Took": words.took_words(body), "Loss": _loss_words(body)}
    rows = (f"<div><dt>{name}</dt><dd>{_text(text)}</dd></div>" for name, text in facts.items() if text)
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _loss_words(body: Body) -> str:
    return words.loss_words(body).replace("->", "to")


def _checks(body: Body) -> str:
    items = (
        f'<li class="{"good" if passed else "bad"}">{_spoken("Passed: " if passed else "Failed: ")}{_text(told)}</li>'
        for passed, told in words.checks(body)
    )
    return _ul("checks", items)


def _lesson(lesson: Mapping[str, Any], before: str, after: str) -> str:
    """One prompt of the user's, with what was said to it."""
    marks = [lesson["level"], "new" if lesson["new"] else None]
    tags = "".join(f'<span class="tag">{_text(mark)}</span>' for mark in marks if mark)
    note = f'<p class="note">Your note: <bdi>{_text(lesson["note"])}</bdi></p>' if lesson["note"] else ""
    wanted = "" if lesson["right"]["after"] else _said("Wanted", lesson["wanted"], "wanted")
    return (
        f'<article><h3 dir="auto">{_text(words.asked(lesson))}</h3><p class="tags">{tags}</p>{note}'
        f'<div class="pair">{_said(before, words.said(lesson, "before"), "before", lesson["right"]["before"])}'
        f"{_said(after, words.said(lesson, 'after'), 'after', lesson['right']['after'])}</div>{wanted}</article>"
    )


def _said(heading: str, text: str, kind: str, right: bool | None = None) -> str:
    verdict = (
        "" if right is None else f'<span class="{"good" if right else "bad"}">{"right" if right else "not it"}</span>'
    )
    shown = f'<p class="text" dir="auto">{_text(text)}</p>' if text.strip() else '<p class="text empty">nothing</p>'
    return f'<div class="said {kind}"><h4>{_text(heading)} {verdict}</h4>{shown}</div>'


def _changes(changes: Sequence[words.Change], kind: str) -> str:
    """The user's own texts may run the other way than the words before them."""
    if not changes:
        return f'<p class="nothing">{words.NOTHING}</p>'
    own = [f": <bdi>{_text(change.text)}</bdi>" if change.text else "" for change in changes]
    items = (f"<li>{_text(change.what)}{text}</li>" for change, text in zip(changes, own, strict=True))
    return _ul(kind, items)


def _numbers(body: Body, before: str, after: str) -> str:
    """With the model's own numbers where another adapter answered until now."""
    own = body["adapter"]["before"] is not None
    heads = ["", *(["The model itself"] if own else []), before, after]
    rows = []
    for number in words.numbers(body):
        cells = [*([number.base] if own else []), number.before, number.after]
        figures = "".join(f"<td>{'not measured' if cell is None else _text(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{number.name}<small>{_text(number.meaning)}</small></th>{figures}</tr>')
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{_text(each)}</th>' if each else "<td></td>" for each in heads)
    return (
        f'<table><caption class="spoken">What was measured before and after</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _loss(body: Body) -> str:
    """The curve, told in words too."""
    losses = [value for value in body["loss"]["curve"] if value is not None]
    if not losses:
        return ""
    steps = max(body["run"]["steps"], len(losses))
    top = max(*losses, 1e-9)
    inner, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    across = [_LEFT + inner * place / max(1, len(losses) - 1) for place in range(len(losses))]
    points = [(x, _TOP + height * (1 - max(0.0, loss) / top)) for x, loss in zip(across, losses, strict=True)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    floor, (last_x, last_y) = _TOP + height, points[-1]
    marks = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        for value, y in ((top, _TOP), (top / 2, _TOP + height / 2), (0.0, floor))
    )
    ends = _loss_words(body) or f"{losses[0]:.2f} to {losses[-1]:.2f}"
    told = f"Over {words.counted(steps, 'step')} the loss went from {ends}."
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="curve-name curve-told">'
        f'<title id="curve-name">The loss at each step</title><desc id="curve-told">{told}</desc>{marks}'
        f'<polygon class="area" points="{_LEFT},{floor} {line} {last_x:.1f},{floor}"/>'
        f'<polyline class="curve" points="{line}"/><circle cx="{last_x:.1f}" cy="{last_y:.1f}" r="3.5"/>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">step 1</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">step {steps}</text></svg>'
        f"<figcaption>{told} The lower, the less the wanted replies surprise it.</figcaption></figure>"
    )


def _rules(body: Body) -> str:
    rules = body["graduated"]
    return _ul("rules", (f'<li dir="auto">{_text(rule["text"])}</li>' for rule in rules)) if rules else ""


def _back(body: Body, holds: bool, back: str) -> str:
    command, does = words.going_back(body, holds=holds, back=back)
    return f"<p><code>{_text(command)}</code> in the chat {_text(does.replace('`', ''))}</p>"


def _ul(kind: str, items: Iterable[str]) -> str:
    # Without markers some screen readers do not take a list for one unless they are told.
    return f'<ul class="{kind}" role="list">{"".join(items)}</ul>'


def _spoken(text: str) -> str:
    """For who hears the page; who sees it has a sign."""
    return f'<span class="spoken">{text}</span>'


_BRAND = "Shammah <span>training receipt</span>"
_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{tab}</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
<p class="brand">{brand} <time datetime="{time}">{day}</time></p>
{stamp}
<h1>{title}</h1>
<p class="answers">{answers}</p>
{facts}
</header>
{sections}<footer>
<dl class="facts"><div><dt>Run</dt><dd>{run}</dd></div><div><dt>Adapter</dt><dd>{adapter}</dd></div>
<div><dt>Model</dt><dd>{model}</dd></div></dl>
<p>Made on this machine. Nothing of it has left it, and this page asks nothing of anybody.</p>
</footer>
</main>
</body>
</html>
"""
