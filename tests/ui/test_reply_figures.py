"""The line after a reply that says what it took, on request."""

import io
from contextlib import closing

import pytest
from support.standing_adapters import FIRST, put_silent

from shammah.app import App
from shammah.ui.render import Screen
from shammah.ui.reply_figures import figures, tell_figures


def test_tokens_seconds_and_speed(a_turn):
    turn = a_turn(output_tokens=42, latency_ms=1900.0, first_token_ms=36.0)
    assert figures(turn) == ["42 tokens", "1.9 s", "22 tokens/s"]
    assert figures(a_turn(output_tokens=1)) == ["1 token", "0.0 s"], "one token has no speed"


@pytest.mark.parametrize(
    ("wanted", "adapter", "expected"),
    [
        ("true", None, "5 tokens · 0.0 s · 432 tokens/s · small\n"),
        ("true", FIRST, f"5 tokens · 0.0 s · 432 tokens/s · {FIRST} (v1)\n"),
        ("true", "gone", "5 tokens · 0.0 s · 432 tokens/s · gone\n"),
        ("false", None, ""),
    ],
)
def test_who_gave_it(home, a_turn, wanted, adapter, expected):
    put_silent(home)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with closing(App.build(assignments=(f"ui.stats={wanted}",))) as app:
        tell_figures(Screen(io.StringIO(), err), app, a_turn(adapter=adapter))
    err.seek(0)
    assert err.read() == expected
