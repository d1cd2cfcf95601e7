"""One prompt, one reply, through the program as scripts call it."""

import json
import os
import subprocess
import sys

import pytest

from shammah.ui.render import printable

KEYS = [
    "prompt",
    "response",
    "model",
    "adapter",
    "input_tokens",
    "output_tokens",
    "duration_ms",
    "first_token_ms",
    "tokens_per_second",
    "stop_reason",
    "conversation_id",
]


@pytest.fixture
def ask(shammah, tiny_model):
    """Ask the tiny model for few tokens, greedily."""

    def ask(*arguments, stdin=b"", **environment):
        few = ("-m", str(tiny_model), "-o", "temperature", "0", "-o", "max_tokens", "6")
        return shammah(*few, *arguments, stdin=stdin, **environment)

    return ask


def reply(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_answer_and_nothing_else_is_on_stdout(ask):
    result = ask("hello")
    assert result.returncode == 0
    assert result.stdout.endswith(b"\n") and result.stdout.strip()
    lines = result.stderr.decode().splitlines()
    assert lines[0].startswith("Loading") and lines[1:] == ["(stopped at 6 tokens: max_tokens)"]


def test_quiet_says_nothing_beside_the_answer(ask):
    result = ask("-q", "hello")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.strip()


def test_json_has_every_key_and_numbers_that_fit(ask):
    found = reply(ask("hello", "--json"))
    assert [key for key in KEYS if key not in found] == []
    assert found["prompt"] == "hello" and found["adapter"] is None
    assert found["output_tokens"] == 6 and found["stop_reason"] == "length"
    assert found["input_tokens"] > len("hello")
    assert 0 < found["first_token_ms"] <= found["duration_ms"]
    assert found["tokens_per_second"] > 0


def test_the_same_greedy_reply_twice_and_in_text(ask):
    first, second = reply(ask("hello", "--json")), reply(ask("hello", "--json"))
    assert first["response"] == second["response"]
    assert first["conversation_id"] != second["conversation_id"]
    assert ask("hello").stdout.decode().rstrip("\n") == printable(first["response"]).rstrip("\n")


def test_prompts_from_everywhere_are_put_together(ask, tmp_path):
    (tmp_path / "notes.txt").write_text("a note\n")
    found = reply(ask("what", "is", "this?", "-f", "notes.txt", "--json", stdin="aus Köln\n".encode()))
    assert found["prompt"] == "notes.txt:\n```\na note\n```\n\naus Köln\n\nwhat is this?"


def test_a_prompt_that_is_a_command_s_name(ask):
    assert reply(ask("-p", "models", "--json"))["prompt"] == "models"
    assert reply(ask("--json", "--", "models"))["prompt"] == "models"


def test_going_on_with_a_conversation(ask):
    first = reply(ask("first", "--json"))
    other = reply(ask("other", "--json"))
    second = reply(ask("second", "--json", "--resume", first["conversation_id"]))
    assert second["conversation_id"] == first["conversation_id"]
    assert second["input_tokens"] > first["input_tokens"] + first["output_tokens"]
    third = reply(ask("third", "--json", "-c"))
    assert third["conversation_id"] == first["conversation_id"] != other["conversation_id"]


def test_the_system_prompt_is_given_and_kept(ask):
    plain = reply(ask("hello", "--json"))
    told = reply(ask("hello", "--json", "-s", "Be brief."))
    assert told["input_tokens"] > plain["input_tokens"] + len("Be brief.")
    again = reply(ask("hello", "--json", "-c"))
    assert again["input_tokens"] > told["input_tokens"] + plain["input_tokens"] - 10, "the system prompt came along"


def test_no_log_stores_nothing(ask, home):
    found = reply(ask("hello", "--json", "-n"))
    assert found["conversation_id"] is None
    assert not home.exists()


def test_seed_and_stop(ask):
    warm = (
        "hello",
        "--json",
        "-o",
        "temperature",
        "5",
        "-o",
        "top_k",
        "0",
        "-o",
        "top_p",
        "1",
        "-o",
        "max_tokens",
        "30",
    )
    one, two, other = (reply(ask(*warm, "-o", "seed", seed))["response"] for seed in ("1", "1", "2"))
    assert one == two != other
    cut = next(character for character in one if character.isascii() and character.isprintable())
    stopped = reply(ask(*warm, "-o", "seed", "1", "-o", "stop", cut))
    assert stopped["stop_reason"] == "stop"
    assert stopped["response"] == one[: one.index(cut)]


def test_no_escape_codes_in_a_pipe(ask):
    result = ask("hello", TERM="xterm-256color", FORCE_COLOR="1")
    assert b"\x1b" not in result.stdout + result.stderr


def test_a_file_on_stdin(tiny_model, home, tmp_path):
    (tmp_path / "question").write_text("what is this?")
    random = "-o max_tokens 60 -o temperature 3 -o seed 1"
    command = f"{sys.executable} -m shammah -m {tiny_model} {random} < {tmp_path / 'question'} | cat"
    result = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120, check=True, env={**os.environ})
    assert result.stdout.strip() and b"\x1b" not in result.stdout


def test_a_model_without_a_template_still_chats_and_says_so_once(ask, shammah, tiny_model, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    result = shammah("hello", "-m", str(folder), "-o", "max_tokens", "5")
    assert result.returncode == 0 and result.stdout.strip()
    assert result.stderr.decode().count("no chat template") == 1


def test_a_word_that_nearly_is_a_command_is_answered_and_pointed_out(ask):
    result = ask("modles")
    assert result.returncode == 0 and result.stdout.strip()
    assert "the command is `shammah models`" in result.stderr.decode()
    assert "the command is" not in ask("hello").stderr.decode()


def test_json_is_whole_and_harmless_on_a_terminal(ask):
    text = "naïve 日本 \x9b31m"
    result = ask(text, "--json")
    assert "日本".encode() in result.stdout and "\x9b".encode() not in result.stdout
    assert reply(result)["prompt"] == text


def test_a_byte_order_mark_is_not_part_of_the_prompt(ask, tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"\xef\xbb\xbfa note")
    found = reply(ask("-f", "notes.txt", "--json", stdin=b"\xef\xbb\xbfhello"))
    assert found["prompt"] == "notes.txt:\n```\na note\n```\n\nhello"


def test_an_argument_in_utf8_is_read_in_any_locale_and_told_in_its_own(ask):
    result = ask("café 日本", "--json", LC_ALL="POSIX", PYTHONUTF8="0")
    assert result.stdout.isascii() and reply(result)["prompt"] == "café 日本"
