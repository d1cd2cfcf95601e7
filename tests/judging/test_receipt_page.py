"""The page of a receipt: it asks nobody for anything, says what it was given and no more, and all can read it."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.receipts import OFFICE, a_receipt, a_rule, a_spoiled_one

from shammah.judging.receipt_page import is_page, page
from shammah.judging.receipt_style import STYLE
from shammah.records import Probe

VOID = {"meta", "circle", "line", "polyline", "polygon", "br", "img", "link", "input"}
# What a browser fetches or follows.
LOADING = {
    "src", "href", "srcset", "action", "formaction", "data", "poster", "background", "cite", "ping", "manifest",
    "xlink:href", "style", "http-equiv",
}  # fmt: skip
NASTY = (
    "<script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "</style><link rel=stylesheet href=//evil.example>",
    "&lt;b&gt; &amp;amp; {policy} {0} %s",
    "<!-- --><![CDATA[ ]]></main>",
    "שלום \u202eevil\u202c مرحبا",
    "👩‍👩‍👧 🔴 ﷽",
    "\x1b[31mred\x1b[0m \x07",
)


class Read(HTMLParser):
    """What a browser makes of it: elements in their order, and the text in each of them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append((self.open[-1], data))

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    @property
    def tags(self):
        return [tag for tag, _ in self.elements]

    def all(self, tag):
        return [attributes for each, attributes in self.elements if each == tag]

    def text(self, tag=None):
        return "".join(data for where, data in self.texts if tag in (None, where))


PAGES = {
    "good": a_receipt(rules=[a_rule()]),
    "bad": a_spoiled_one(),
    "other before": a_receipt(before="lora_adapter_old"),
    "nasty": a_receipt(*((text, text, text[::-1] + "x") for text in NASTY), rules=[a_rule(NASTY[0])], note=NASTY[1]),
}


@pytest.mark.parametrize("receipt", PAGES.values(), ids=PAGES)
class TestEveryPage:
    def test_it_is_whole(self, receipt):
        assert Read(page(receipt)).open == []

    def test_nothing_is_fetched_or_run(self, receipt):
        found = Read(page(receipt))
        assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a", "use", "image"} & set(
            found.tags
        )
        loading = [(tag, name) for tag, attributes in found.elements for name in attributes if name in LOADING]
        assert loading == [("meta", "http-equiv")]
        assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
        assert not re.search(r"url\(|@import|@font-face|image-set|src\s*:", STYLE)

    def test_a_browser_is_forbidden_to_load_anything_but_the_style_in_it(self, receipt):
        text = page(receipt)
        (policy,) = [meta["content"] for meta in Read(text).all("meta") if meta.get("http-equiv")]
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        known = b64encode(sha256(style.encode()).digest()).decode()
        assert policy.split("; ") == [
            "default-src 'none'", f"style-src 'sha256-{known}'", "base-uri 'none'", "form-action 'none'",
        ]  # fmt: skip
        assert text.index("Content-Security-Policy") < text.index("<style>")

    def test_it_can_be_heard(self, receipt):
        found = Read(page(receipt))
        levels = [int(tag[1]) for tag in found.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
        assert found.all("html") == [{"lang": "en"}] and found.tags.count("main") == 1
        (curve,) = found.all("svg")
        ids = [each["id"] for tag in ("title", "desc") for each in found.all(tag) if "id" in each]
        assert curve["role"] == "img" and curve["aria-labelledby"].split() == ids
        assert found.text("desc").startswith("Over 60 steps the loss went from 2.31 to 0.1")
        scopes = [each.get("scope") for each in found.all("th")]
        assert "row" in scopes and "col" in scopes and None not in scopes
        assert found.tags.count("caption") == 1


def test_it_says_all_there_is_to_say():
    text = Read(page(PAGES["good"])).text()
    for part in (
        "Trained, better, deployed",
        "v7 is in use; it took the place of the model itself.",
        "3 examples (1 critical, 1 medium, 1 good)",
        *(each for lesson in OFFICE for each in lesson),
        "What is obeyed without being told from now on",
        "Answer in one sentence.",
        "/adapters rollback in the chat goes back to the model itself.",
        "Nothing that was measured.",
        "2026-11-21 13:01",
    ):
        assert part in text


def test_probes_of_the_user_that_still_fail_are_named():
    probe = Probe(id="mine", time="", prompt="Which <city>?", contains=("Bilbao",))
    failing = {"probes": {"mine": False}}
    assert (
        "Not passed yet: Which <city>?"
        in Read(page(a_receipt(probes=[probe], active=failing, candidate=failing))).text()
    )
    assert "Your probes" not in page(a_receipt())


def test_a_refused_one_says_why_and_what_was_wanted():
    text = Read(page(PAGES["bad"])).text()
    assert "Failed: drift 0.22 (limit 0.10)" in text and "not in use" in text
    assert "No longer passed: Which city is our office in?" in text and "With v7" in text
    assert "WantedThe stand-up" in text.replace(" ", "").replace("WantedThestand-up", "WantedThe stand-up")


def test_the_models_own_numbers_stand_beside_where_another_adapter_answered():
    assert "The model itself" in Read(page(PAGES["other before"])).text("th")
    assert "The model itself" not in Read(page(PAGES["good"])).text("th")


def squeezed(text):
    return " ".join(text.split())


@settings(deadline=None)
@given(
    st.tuples(
        *[st.one_of(st.sampled_from(NASTY), st.text(st.characters(blacklist_categories=("Cs",)), max_size=80))] * 5
    )
)
def test_whatever_the_texts_are_they_stay_texts(texts):
    prompt, before, after, note, rule = (f"x{text}" for text in texts)
    harmless = Read(page(a_receipt(("x", "y", "z"), note="x", rules=[a_rule("x")])))
    found = Read(page(a_receipt((prompt, before, after + "z"), note=note, rules=[a_rule(rule)])))
    tags = [tag for tag in found.tags if tag not in ("bdi",)]
    assert found.open == [] and set(tags) <= set(harmless.tags) | {"div"}
    assert [
        name for _, each in found.elements for name in each if name.startswith("on") or name in ("src", "href")
    ] == []
    shown = squeezed(found.text().replace("\0", "\ufffd"))
    for text in (before, after, note, rule):
        assert squeezed(text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")) in shown


def test_texts_run_as_their_script_does_and_do_not_turn_what_is_around_them():
    found = Read(page(PAGES["nasty"]))
    own = [each for tag, each in found.elements if tag in ("h3", "bdi") or each.get("class") in ("text", "note")]
    assert len(own) > 20 and all(each.get("dir") == "auto" for tag, each in found.elements if tag == "h3")
    assert all(each.get("dir") == "auto" for each in found.all("p") if each.get("class") == "text")


@pytest.mark.parametrize("losses", [(), (1.0,), (0.0, 0.0), (2.0, 2.0, 2.0)], ids=len)
def test_a_curve_of_any_length(losses):
    found = Read(page(a_receipt(losses=losses)))
    assert len(found.all("svg")) == bool(losses)
    points = " ".join(each["points"] for each in found.all("polyline"))
    assert len(points.split()) == len(losses) and "nan" not in points and "inf" not in points


class TestTheColours:
    """Whoever sees little has to tell text from paper: 4.5 to 1 is what the guidelines for the web ask for."""

    def schemes(self):
        day, night = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
        day, night = (dict(re.findall(r"--(\w+): (#\w{6})", text)) for text in (day, night))
        return [day, {**day, **night}]

    def light(self, colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(self, one, other):
        bright, dark = sorted((self.light(one), self.light(other)), reverse=True)
        return (bright + 0.05) / (dark + 0.05)

    def test_by_day_and_by_night(self):
        for scheme in self.schemes():
            for text in ("ink", "soft", "good", "bad"):
                for paper in ("paper", "shade"):
                    assert self.contrast(scheme[text], scheme[paper]) >= 4.5, (text, paper)

    def test_both_and_paper_are_thought_of(self):
        assert "prefers-color-scheme: dark" in STYLE and "@media print" in STYLE and "max-width: 36rem" in STYLE


def test_of_one_that_was_replaced_since():
    text = Read(page(PAGES["good"], holds=False)).text()
    assert "was in use" in text and "v7 was taken into use then" in text and "/adapters rollback" not in text


def test_a_page_is_known_for_one():
    assert is_page(page(PAGES["good"]).encode()) and not is_page(b"<!DOCTYPE html>\n<html></html>")
