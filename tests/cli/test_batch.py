"""`--batch`: replies in the order of the prompts, the same as one by one."""

import json
import subprocess

import pytest

CONTRACT = ["id", "prompt", "response", "model", "adapter", "input_tokens", "output_tokens", "duration_ms"]


def few(model):
    """Few greedy tokens, in a format in which the order of sums can't change which token is the likeliest."""
    return ("-m", str(model), "--dtype", "float32", "-o", "temperature", "0", "-o", "max_tokens", "8")


@pytest.fixture
def batch(shammah, tiny_model):
    def batch(*rows, name="-", more=()):
        text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()
        return shammah(*few(tiny_model), "--batch", name, *more, stdin=text)

    return batch


def replies(result: "subprocess.CompletedProcess[bytes]", code: int = 0):
    assert result.returncode == code, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


PROMPTS = ["a", "a much longer prompt " * 8, "b b", "c" * 90, "the last of them"]


def test_order_ids_and_keys(batch):
    rows = [{"id": f"q{number}", "prompt": prompt} for number, prompt in enumerate(PROMPTS)]
    found = replies(batch(*rows, more=("--set", "batch_rows=2")))
    assert [row["id"] for row in found] == ["q0", "q1", "q2", "q3", "q4"]
    assert [row["prompt"] for row in found] == PROMPTS
    for row in found:
        assert [key for key in CONTRACT if key not in row] == []
        assert row["error"] is None and row["output_tokens"] == 8


def test_rows_without_an_id_have_their_line_number(batch):
    found = replies(batch({"prompt": "a"}, "", {"prompt": "b"}))
    assert [row["id"] for row in found] == [1, 3]


def test_the_same_replies_as_one_by_one(batch, shammah, tiny_model):
    together = [row["response"] for row in replies(batch(*({"prompt": prompt} for prompt in PROMPTS)))]
    alone = []
    for prompt in PROMPTS[:3]:
        result = shammah(*few(tiny_model), "--json", prompt)
        alone.append(json.loads(result.stdout)["response"])
    assert together[:3] == alone


def test_a_prompt_over_the_window_fails_alone(batch):
    result = batch({"prompt": "a"}, {"prompt": "x" * 600}, {"prompt": "b"})
    first, second, third = replies(result, code=1)
    assert first["error"] is None and third["error"] is None
    assert "512" in second["error"] and second["response"] == "" and second["output_tokens"] == 0
    assert b"1 of 3 prompts" in result.stderr


def test_turns_are_stored_unless_told_not_to(batch, shammah, home):
    replies(batch({"prompt": "alpha"}, {"prompt": "beta"}))
    listed = [json.loads(line)["query"] for line in shammah("logs", "list", "--json").stdout.splitlines()]
    assert sorted(listed) == ["alpha", "beta"]
    replies(batch({"prompt": "gamma"}, more=("-n",)))
    assert b"gamma" not in shammah("logs", "list").stdout


def test_a_file_and_an_empty_one(batch, tmp_path):
    (tmp_path / "questions.jsonl").write_text('\ufeff{"prompt": "a"}\n')
    assert [row["prompt"] for row in replies(batch(name="questions.jsonl"))] == ["a"]
    (tmp_path / "empty.jsonl").write_text("")
    assert replies(batch(name="empty.jsonl")) == []


def test_a_prompt_beside_the_batch_is_refused(batch):
    result = batch({"prompt": "a"}, more=("and this",))
    assert result.returncode == 2 and b"--batch has its own prompts" in result.stderr


def test_line_separators_within_a_prompt_are_text(batch):
    text = "one\u2028two\u0085three"
    (row,) = replies(batch(json.dumps({"prompt": text}, ensure_ascii=False)))
    assert row["prompt"] == text


def test_json_that_is_nested_too_deeply_is_refused_in_a_line(batch):
    result = batch("[" * 100_000)
    assert result.returncode == 2 and b"line 1: not JSON" in result.stderr
