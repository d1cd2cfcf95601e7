"""`shammah examples`: what it lists, takes, changes, lets go, and what each call leaves in the store."""

import json
import os
import stat
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from shammah.app import App
from shammah.config import resolve
from shammah.home import Home
from shammah.store import Database
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.archive import Archive
from shammah.store.probes import Probes
from shammah.store.receipts import Receipts

OFFICE = Path(__file__).parents[1] / "feedback" / "office.jsonl"
KEYS = {
    "id", "time", "status", "rating", "weight", "prompt", "target", "rejected", "note", "reason", "tags", "source",
    "model", "adapter", "trained", "quality", "turn_id",
}  # fmt: skip
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def rows(result):
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def words(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


@pytest.fixture
def app(home):
    with closing(App(Home(home), resolve(home / "config.toml"))) as app:
        yield app


@pytest.fixture
def stored(app, a_turn):
    """One of each kind: good, fixed, waiting for a reply, waiting for a look."""

    def say(query, reply, **more):
        return app.conversations.add(a_turn(query, reply, **more), title="t").id

    app.desk.rate(say("What port?", "8080", model="large", time="2026-01-01T10:00:00.000Z"), "good")
    app.desk.fix(say("Which \x1b[31mlake?", "Como"), "Garda", note="Our lake is lake Garda")
    app.desk.rate(say("Who cooks?", "Nobody"), "critical")
    app.desk.rate(say("When is lunch?", "Never"), "medium", "Say the hour")
    return app.desk.examples.find(oldest_first=True, limit=None)


class TestList:
    def test_an_empty_home(self, shammah):
        result = shammah("examples", "list")
        assert (result.returncode, result.stdout) == (0, b"")
        assert (
            result.stderr == b"0 examples; 0 wait for training (0.0 weighted), 0 need a better reply, 0 need review\n"
        )

    def test_lines_and_the_summary_beside_them(self, shammah, stored):
        result = shammah("examples", "list")
        lines = words(result).splitlines()
        assert [line.split()[0] for line in lines] == [example.id[:10] for example in reversed(stored)]
        assert lines[0].split()[1:5] == ["needs", "review", "medium", "3x"] and lines[0].endswith("(Say the hour)")
        assert "\x1b" not in words(result)
        assert result.stderr.decode() == (
            "4 examples; 3 wait for training (7.0 weighted), 1 needs a better reply, 1 needs review\n"
        )

    def test_json_has_all_its_keys(self, shammah, stored):
        found = rows(shammah("examples", "list", "--json"))
        assert len(found) == 4 and all(set(row) > KEYS for row in found)
        assert found[-1]["prompt"] == "What port?" and found[-1]["target"] == "8080" and found[-1]["rating"] == "good"
        assert shammah("examples", "list", "--json").stderr == b""

    @pytest.mark.parametrize(
        ("asked", "prompts"),
        [
            (("--status", "needs-target"), ["Who cooks?"]),
            (("--status", "waiting"), ["When is lunch?", "Who cooks?"]),
            (("--rating", "normal"), ["What port?"]),
            (("--level", "critical"), ["Who cooks?"]),
            (("--search", "GARDA lake"), ["Which \x1b[31mlake?"]),
            (("-m", "large"), ["What port?"]),
            (("--min-quality", "0.9"), ["What port?"]),
            (("-l", "1"), ["When is lunch?"]),
            (("--tag", "none"), []),
            (("--until", "2001-01-01"), []),
        ],
    )
    def test_filters(self, shammah, stored, asked, prompts):
        assert [row["prompt"] for row in rows(shammah("examples", "list", "--json", *asked))] == prompts

    def test_times_are_taken_in_any_zone(self, shammah, app, an_example):
        app.desk.examples.put(an_example(time="2026-01-31T09:30:00.000Z"))
        for asked, count in [
            (("--since", "2026-01-31"), 1), (("--until", "2026-01-31"), 1), (("--since", "2026-02-01"), 0),
            (("--since", "2026-01-31T10:30+01:00"), 1), (("--since", "2026-01-31T10:30"), 0),
            (("--until", "2026-01-31T09:29"), 0),
        ]:  # fmt: skip
            assert len(rows(shammah("examples", "list", "--json", *asked))) == count, asked

    def test_a_time_that_is_none(self, shammah):
        result = shammah("examples", "list", "--since", "yesterday")
        assert result.returncode == 2 and b"'yesterday' is no day like 2026-01-31" in result.stderr


class TestShow:
    def test_one_by_the_start_of_its_id(self, shammah, stored):
        shown = words(shammah("examples", "show", stored[1].id))
        assert "rejected: Como\ntarget: Garda\nnote: Our lake is lake Garda\n" in shown and "\x1b" not in shown
        assert rows(shammah("examples", "show", stored[1].id, "--json"))[0]["target"] == "Garda"

    def test_one_that_is_not_there(self, shammah):
        result = shammah("examples", "show", "zzz")
        assert result.returncode == 1 and b"There is no example 'zzz'" in result.stderr


class TestAdd:
    def test_it_prints_the_id(self, shammah, app):
        given = ("--reply", "Como", "--better", "Garda", "--rating", "high", "--note", "No", "--tag", "a", "--tag", "b")
        id = words(shammah("examples", "add", "Which lake?", *given, "--system", "Be brief.")).strip()
        example = app.desk.examples.get(id)
        assert (example.target, example.rejected, example.level, example.weight) == ("Garda", "Como", "critical", 10.0)
        assert (example.source, example.note, example.tags) == ("script", "No", ("a", "b"))
        assert [message.content for message in example.messages] == ["Be brief.", "Which lake?"]

    def test_the_reply_of_a_bad_rating_is_never_the_target(self, shammah, app):
        result = shammah("examples", "add", "Which lake?", "--reply", "Como", "--rating", "critical")
        example = app.desk.examples.get(words(result).strip())
        assert (example.target, example.rejected, example.state) == (None, "Como", "needs target")
        assert b"needs target: it is not known what the reply should have been" in result.stderr

    def test_once_more_it_is_the_same_one(self, shammah, app):
        add = ("examples", "add", "Which lake?", "--reply", "Garda", "--rating", "good")
        first, second = shammah(*add), shammah(*add)
        assert words(first) == words(second) and b"there already" in second.stderr
        assert app.desk.examples.count() == 1
        assert rows(shammah(*add, "--json"))[0]["new"] is False

    def test_an_object_on_stdin(self, shammah, app):
        row = {"prompt": "Which lake?", "reply": "Garda", "rating": "good", "mine": [1]}
        (found,) = rows(shammah("examples", "add", "-", "--json", stdin=json.dumps(row).encode()))
        assert (found["source"], found["extra"], found["new"]) == ("script", {"mine": [1]}, True)
        assert app.desk.examples.get(found["id"]).target == "Garda"

    @pytest.mark.parametrize(
        ("arguments", "stdin", "words"),
        [
            (("Hi", "--reply", "Ho"), b"", b"needs a rating"),
            (("Hi", "--rating", "good"), b"", b"needs a prompt and a reply"),
            (("Hi", "--reply", "Ho", "--rating", "fine"), b"", b"is not one of"),
            (("-", "--rating", "good"), b"{}", b"Leave the other options out"),
            (("-",), b"nothing", b"stdin holds no JSON"),
            (("-",), b'{"reply": "a", "rating": "good"}', b'no "prompt"'),
        ],
    )
    def test_wrong_usage(self, shammah, app, arguments, stdin, words):
        result = shammah("examples", "add", *arguments, stdin=stdin)
        assert result.returncode == 2 and words in result.stderr and app.desk.examples.count() == 0

    def test_a_secret_is_redacted_before_it_is_stored(self, shammah, app, home):
        result = shammah("examples", "add", "My token?", "--reply", f"It is {TOKEN}.", "--rating", "good")
        example = app.desk.examples.get(words(result).strip())
        assert TOKEN not in (example.target or "") and example.state == "needs review" and example.secrets
        assert TOKEN.encode() not in b"".join(file.read_bytes() for file in home.glob("shammah.db-wal"))

    def test_a_secret_beside_what_is_trained_on_leaves_it_ready(self, shammah, app):
        row = {"prompt": "Hi", "reply": "Ho", "rating": "good", "tags": [TOKEN], TOKEN: 4111111111111111}
        (found,) = rows(shammah("examples", "add", "-", "--json", stdin=json.dumps(row).encode()))
        assert TOKEN not in json.dumps(found) and "4111111111111111" not in json.dumps(found)
        assert found["status"] == "ready" and app.desk.examples.get(found["id"]).trainable

    @pytest.mark.parametrize("depth", [120, 500, 900, 990, 5000])
    def test_an_object_that_is_nested_too_deeply(self, shammah, depth):
        row = '{"prompt": "Hi", "reply": "Ho", "rating": "good", "x": ' + "[" * depth + "]" * depth + "}"
        result = shammah("examples", "add", "-", stdin=row.encode())
        assert result.returncode == 2 and b"Unexpected" not in result.stderr
        result = shammah(
            "examples", "import", "-", stdin=row.encode() + b'\n{"prompt":"a","reply":"b","rating":"good"}'
        )
        assert b"line 1: nested too deeply" in result.stderr and b"1 example taken" in result.stdout


class TestEdit:
    def test_each_option(self, shammah, app, stored):
        id = stored[2].id
        arguments = ("--target", "Marta", "--weight", "2.5", "--tag", "food", "--note", "Marta cooks")
        (row,) = rows(shammah("examples", "edit", id, *arguments, "--json"))
        assert (row["target"], row["weight"], row["tags"], row["note"]) == ("Marta", 2.5, ["food"], "Marta cooks")
        assert (row["status"], row["rejected"], row["rating"]) == ("ready", "Nobody", "critical")
        assert (
            rows(shammah("examples", "edit", id, "--untag", "food", "--disable", "--json"))[0]["status"] == "disabled"
        )
        (row,) = rows(shammah("examples", "edit", id, "--enable", "--json"))
        assert (row["status"], row["tags"]) == ("ready", [])
        assert app.conversations.turn(stored[2].turn_id).note == "Marta cooks"

    def test_the_rejected_reply_is_refused_as_target(self, shammah, app, stored):
        result = shammah("examples", "edit", stored[2].id, "--note", "Marta cooks", "--target", " Nobody")
        assert result.returncode == 2 and b"can't be accepted" in result.stderr
        assert app.desk.examples.get(stored[2].id) == stored[2], "all of it or nothing"

    @pytest.mark.parametrize("of_turn", [True, False])
    def test_a_good_reply_rated_anew_is_no_target_any_more(self, shammah, app, stored, of_turn):
        id = stored[0].id
        if not of_turn:
            app.conversations.delete_conversation("talk")
        (row,) = rows(shammah("examples", "edit", id, "--rating", "critical", "--json"))
        assert (row["target"], row["rejected"], row["weight"], row["status"]) == (None, "8080", 10.0, "needs target")
        (row,) = rows(shammah("examples", "edit", id, "--rating", "good", "--json"))
        assert (row["target"], row["rejected"], row["weight"], row["status"]) == ("8080", None, 1.0, "ready")

    def test_a_disabled_one_rated_anew_stays_so(self, shammah, app, an_example):
        id = app.desk.examples.put(an_example(state="disabled")).id
        (row,) = rows(shammah("examples", "edit", id, "--rating", "medium", "--json"))
        assert (row["status"], row["target"]) == ("disabled", None)

    def test_without_an_option_the_editor_opens(self, shammah, tmp_path, stored):
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\ngrep -q Nobody "$1" && echo Marta > "$1"\n')
        editor.chmod(0o700)
        (row,) = rows(shammah("examples", "edit", stored[2].id, "--json", VISUAL=str(editor)))
        assert (row["target"], row["source"]) == ("Marta", "fix")
        result = shammah("examples", "edit", stored[3].id, VISUAL="true")
        assert (result.returncode, result.stderr) == (0, b"Nothing changed.\n")

    def test_accept(self, shammah, stored):
        refused = shammah("examples", "accept", stored[2].id)
        assert refused.returncode == 2 and b"can't be accepted" in refused.stderr
        (row,) = rows(shammah("examples", "accept", stored[3].id, "--target", "At noon", "--json"))
        assert (row["target"], row["status"]) == ("At noon", "ready")
        assert b"At noon" not in shammah("examples", "accept", stored[3].id).stdout


class TestDelete:
    def test_without_a_terminal_it_must_be_said(self, shammah, app, stored):
        result = shammah("examples", "delete", stored[0].id)
        assert result.returncode == 2 and b"--yes" in result.stderr and app.desk.examples.count() == 4

    def test_off_the_disk_and_its_rating_with_it(self, shammah, app, stored, home):
        taught = app.desk.teach("Who plays?", "The xylophonist.").example
        app.close()
        found = rows(shammah("examples", "delete", "--yes", "--json", taught.id, stored[0].id))
        assert found == [{"deleted": 2, "ids": [taught.id, stored[0].id]}]
        assert not any(b"xylophonist" in file.read_bytes() for file in home.rglob("*") if file.is_file())
        assert [row["prompt"] for row in rows(shammah("logs", "list", "--json")) if row["feedback"] == "good"] == []

    def test_one_that_is_not_there_leaves_the_others(self, shammah, app, stored):
        assert shammah("examples", "delete", "-y", stored[0].id, "zzz").returncode == 1
        assert app.desk.examples.count() == 4

    @pytest.mark.parametrize("messages", ['[{"role": "us', "[]", '[{"role": "user"}]', "null"])
    def test_one_that_is_damaged_is_named_and_can_go(self, shammah, app, stored, messages):
        damaged = stored[1].id
        with app.database.transaction() as connection:
            connection.execute("UPDATE examples SET messages = ? WHERE id = ?", (messages, damaged))
        told = shammah("examples", "list")
        line = f"shammah: The example {damaged} is damaged. Remove it: `shammah examples delete {damaged}`.\n"
        assert (told.returncode, told.stdout, told.stderr.decode()) == (1, b"", line)
        assert shammah("examples", "delete", "--yes", damaged[:-1]).returncode == 0
        assert {row["id"] for row in rows(shammah("examples", "list", "--json"))} == {
            each.id for each in stored if each.id != damaged
        }

    @pytest.mark.skipif(os.name == "nt", reason="no pty")
    @pytest.mark.parametrize(("key", "left", "code"), [("y", 3, 0), ("n", 4, 1)])
    def test_on_a_terminal_it_asks(self, app, stored, key, left, code):
        child = pexpect.spawn("python", ["-m", "shammah", "examples", "delete", stored[0].id], timeout=60)
        child.expect("What port.*Delete for good")
        child.sendline(key)
        child.expect(pexpect.EOF)
        child.close()
        assert (child.exitstatus, app.desk.examples.count()) == (code, left)


class TestImport:
    def test_the_office_suite_and_once_more(self, shammah, app):
        first = shammah("examples", "import", str(OFFICE))
        assert words(first) == "10 examples taken (54.0 weighted), 0 known already, 0 rows skipped\n"
        again = shammah("examples", "import", str(OFFICE))
        assert words(again) == "0 examples taken (0.0 weighted), 10 known already, 0 rows skipped\n"
        assert app.desk.examples.count() == 10 and app.desk.buffer().weighted == 54.0

    def test_broken_rows_are_named_and_the_others_taken(self, shammah):
        lines = [
            b'{"prompt": "a", "reply": "b", "rating": "good"}',
            b"",
            b'{"reply": "b", "rating": "good"}',
            b"{",
            b"[]",
        ]
        result = shammah("examples", "import", "-", stdin=b"\n".join(lines))
        assert words(result) == "1 example taken (1.0 weighted), 0 known already, 3 rows skipped\n"
        assert [line.split(b":")[0] for line in result.stderr.splitlines()] == [b"line 3", b"line 4", b"line 5"]
        assert b'line 3: no "prompt"' in result.stderr

    @pytest.mark.parametrize(
        ("content", "code"),
        [(b"", 0), (b"\n\n", 0), (b"{}\n", 1), (b'{"prompt":"a","reply":"b","rating":"good"}\n{', 0)],
    )
    def test_exit_codes(self, shammah, content, code):
        assert shammah("examples", "import", "-", stdin=content).returncode == code

    def test_skipped_rows_beside_known_ones_are_no_failure(self, shammah):
        content = b'{"prompt":"a","reply":"b","rating":"good"}\n{'
        assert [shammah("examples", "import", "-", stdin=content).returncode for _ in range(2)] == [0, 0]

    @pytest.mark.parametrize("file", ["nowhere.jsonl", "."])
    def test_a_file_that_cannot_be_read(self, shammah, file):
        result = shammah("examples", "import", file)
        assert result.returncode == 2 and b"Cannot read" in result.stderr

    def test_a_dry_run_stores_nothing(self, shammah, app, home):
        result = shammah("examples", "import", str(OFFICE), "--dry-run", "--rules")
        assert words(result) == "10 examples would be taken (54.0 weighted), 0 known already, 0 rows skipped\n"
        assert app.desk.examples.count() == 0 and app.desk.rules.all() == []

    def test_a_dry_run_lets_nothing_go_to_the_archive(self, shammah, app, an_example, home):
        learned = app.desk.examples.put(an_example())
        app.desk.examples.mark_trained([learned.id], "adapter")
        words(shammah("examples", "import", str(OFFICE), "--dry-run", "--set", "examples.limit=1"))
        assert app.desk.examples.has(learned.id) and not (home / "archive").exists()

    def test_notes_become_rules_only_when_asked(self, shammah, app):
        words(shammah("examples", "import", str(OFFICE)))
        assert app.desk.rules.all() == []
        line = b'{"prompt": "p", "reply": "r", "rating": "medium", "note": "Always answer in French"}\n'
        good = b'{"prompt": "q", "reply": "r", "rating": "good", "note": "Always be brief"}\n'
        result = shammah("examples", "import", "-", "--rules", "--json", stdin=line + good)
        assert rows(result)[0]["rules"] == ["Always answer in French"] == [rule.text for rule in app.desk.rules.all()]

    def test_tags_rating_format_and_json(self, shammah, app):
        row = {"instruction": "Which lake?", "output": "Como", "better": "Garda", "tags": ["a"]}
        arguments = ("--format", "alpaca", "--rating", "critical", "--tag", "b", "--tag", "a", "--json")
        result = shammah("examples", "import", "-", *arguments, stdin=json.dumps(row).encode() + b"\n{")
        (report,) = rows(result)
        assert (report["taken"], report["weighted"], report["known"], report["dry_run"]) == (1, 10.0, 0, False)
        assert [skipped["line"] for skipped in report["skipped"]] == [2] and report["redacted"] == 0
        (example,) = app.desk.examples.find()
        assert (example.tags, example.level, example.target) == (("a", "b"), "critical", "Garda")


class TestExport:
    def test_to_a_file_only_its_owner_can_read_and_back_into_an_empty_home(self, shammah, stored, tmp_path):
        file = tmp_path / "out.jsonl"
        result = shammah("examples", "export", str(file))
        assert (result.stdout, result.returncode) == (b"", 0) and b"4 examples written to" in result.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        other = {"SHAMMAH_HOME": str(tmp_path / "other")}
        words(shammah("examples", "import", str(file), **other))
        again = shammah("examples", "export", **other)
        assert again.stdout == file.read_bytes() and again.stdout.count(b"\n") == 4

    def test_what_is_left_out_is_said(self, shammah, stored):
        result = shammah("examples", "export", "--format", "dpo", "--json")
        (row,) = rows(result)
        assert (row["chosen"], row["rejected"]) == ("Garda", "Como")
        report = json.loads(result.stderr)
        assert (report["path"], report["format"], report["rows"]) == (None, "dpo", 1)
        assert sum(report["left_out"].values()) == 3 and report["left_out"]["no rejected reply"] == 1
        assert b"1 left out: no rejected reply." in shammah("examples", "export", "--format", "dpo").stderr

    def test_filters(self, shammah, stored):
        assert [row["prompt"] for row in rows(shammah("examples", "export", "--rating", "good"))] == ["What port?"]

    def test_the_report_goes_to_stdout_where_the_rows_do_not(self, shammah, stored, tmp_path):
        (report,) = rows(shammah("examples", "export", str(tmp_path / "x"), "--json"))
        assert report == {"path": str(tmp_path / "x"), "format": "shammah", "rows": 4, "left_out": {}}

    def test_a_file_that_cannot_be_written(self, shammah, tmp_path):
        result = shammah("examples", "export", str(tmp_path / "no" / "such"))
        assert result.returncode == 1 and b"Give a file that you can write" in result.stderr


class TestScan:
    @pytest.fixture
    def leaks(self, app, a_turn, an_example):
        """As an older version, or a home with `redact` off, would have stored them."""
        turn = app.conversations.add(a_turn(f"Use {TOKEN} for it", "Fine."), title=f"Use {TOKEN}")
        app.conversations.add(a_turn("Harmless"), title="t")
        example = app.desk.examples.put(an_example("Mail?", "To anna@example.org", rejected=TOKEN, level="medium"))
        harmless = app.desk.examples.put(an_example("Harmless"))
        rule = app.desk.rules.add("Always write to anna@example.org")
        app.close()
        return turn, example, harmless, rule

    def test_what_is_found_is_listed(self, shammah, leaks, home):
        turn, example, _, rule = leaks
        result = shammah("examples", "scan", "--json")
        assert result.returncode == 1
        found = [json.loads(line) for line in result.stdout.splitlines()]
        assert [(leak["kind"], leak["id"]) for leak in found] == [
            ("example", example.id),
            ("turn", turn.id),
            ("conversation", "talk"),
            ("rule", rule.id),
        ]
        assert "e-mail address" in found[0]["kinds"] and not any(leak["redacted"] for leak in found)
        text = shammah("examples", "scan")
        assert text.returncode == 1 and TOKEN not in text.stdout.decode() and b"--fix" in text.stderr
        assert any(TOKEN.encode() in file.read_bytes() for file in home.rglob("*") if file.is_file())

    def test_fix_takes_them_off_the_disk(self, shammah, leaks, home):
        turn, example, harmless, _ = leaks
        assert len(rows(shammah("examples", "scan", "--fix", "--json"))) == 4
        content = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
        assert TOKEN.encode() not in content and b"anna@example.org" not in content
        after = {row["id"]: row for row in rows(shammah("examples", "list", "--json"))}
        assert after[example.id]["status"] == "needs review" and after[example.id]["target"].startswith("To [redacted")
        assert after[harmless.id]["status"] == "ready"
        assert rows(shammah("logs", "list", "--json", "--search", "redacted"))[0]["id"] == turn.id
        again = shammah("examples", "scan")
        assert again.returncode == 0 and b"No secrets were found." in again.stderr

    @pytest.mark.parametrize(
        "more",
        [
            {"tags": (TOKEN,)},
            {"model": TOKEN},
            {"adapter": TOKEN},
            {"extra": {"a": [{"b": TOKEN}]}},
            {"extra": {TOKEN: 1}},
            {"extra": {"card": 4111111111111111}},
        ],
    )
    def test_it_looks_where_nothing_is_trained_on_too_and_asks_nobody(self, shammah, app, an_example, more):
        example = app.desk.examples.put(an_example("Hi", **more))
        assert [json.loads(line)["id"] for line in shammah("examples", "scan", "--json").stdout.splitlines()] == [
            example.id
        ]
        rows(shammah("examples", "scan", "--fix", "--json"))
        after = app.desk.examples.get(example.id)
        assert (after.state, after.secrets, after.trainable) == ("ready", (), True)
        assert TOKEN not in repr(after) and "4111111111111111" not in repr(after)
        assert shammah("examples", "scan").returncode == 0

    def test_a_secret_in_the_rules_of_an_example_needs_a_look(self, shammah, app, an_example):
        example = app.desk.examples.put(an_example("Hi", rules=(f"Use {TOKEN}",)))
        rows(shammah("examples", "scan", "--fix", "--json"))
        after = app.desk.examples.get(example.id)
        assert (after.state, after.secrets, after.rules) == (
            "needs review", ("access token",), ("Use [redacted access token]",)
        )  # fmt: skip

    @pytest.fixture
    def files(self, app, home, an_example):
        archived = app.desk.examples.put(an_example("Mail?", TOKEN, extra={"password": "hunter2xyz"}))
        app.desk.examples.put(an_example("Hi"))
        Archive(home / "archive").append([an_example("Harmless", "Ünd"), archived])
        app.desk.examples.delete([archived.id])
        app.close()
        with (home / "archive" / "examples.jsonl").open("a") as file:
            file.write(f'{{"broken": "{TOKEN}\n')
        (home / "history").write_bytes(b"\n# one\n+Hi\n\n# two\n+say\n+\n+anna@acme.org\n+end\n\n# three\n+\xffbye\n")
        (home / "logs" / "shammah.log.1").write_text(
            "2026-01-01 10:00:00,000 INFO a: fine\n"
            "2026-01-01 10:00:01,000 INFO a: failed\nTraceback\n"
            f"KeyError: 'é {TOKEN}'\n"
            f"2026-01-01 10:00:02,000 INFO a: my é password is hunter2xyz, password=hunter3xyz\n"
        )
        return home

    def test_the_files_of_the_home(self, shammah, files):
        before = (files / "logs" / "shammah.log.1").read_bytes()
        found = [json.loads(line) for line in shammah("examples", "scan", "--json").stdout.splitlines()]
        expected = [("archive", "2"), ("archive", "3"), ("history", "8"), ("log", "4"), ("log", "5")]
        assert [(leak["kind"], leak["id"]) for leak in found] == expected
        assert found[0]["kinds"] == ["access token", "password"]
        assert [(leak["kind"], leak["id"]) for leak in rows(shammah("examples", "scan", "--fix", "--json"))] == expected
        content = b"".join(file.read_bytes() for file in files.rglob("*") if file.is_file())
        assert not any(secret in content for secret in (TOKEN.encode(), b"anna@acme.org", b"hunter2xyz", b"hunter3xyz"))
        assert (files / "history").read_bytes() == (
            b"\n# one\n+Hi\n\n# two\n+say\n+\n+[redacted e-mail address]\n+end\n\n# three\n+\xffbye\n"
        )
        lines = (files / "archive" / "examples.jsonl").read_text("utf-8").splitlines()
        assert json.loads(lines[0])["target"] == "Ünd" and "Ünd" in lines[0]
        assert json.loads(lines[1])["target"] == "[redacted access token]" and len(lines) == 3
        log = (files / "logs" / "shammah.log.1").read_bytes()
        assert len(log) == len(before) and f"KeyError: 'é {'*' * len(TOKEN)}'\n".encode() in log
        assert log.endswith("my é password is **********, password=**********\n".encode())
        assert {stat.S_IMODE((files / name).stat().st_mode) for name in ("history", "archive/examples.jsonl")} == {
            0o600
        }
        assert shammah("examples", "scan").returncode == 0

    def test_a_secret_in_a_title_alone(self, shammah, app, a_turn):
        app.conversations.add(a_turn("Harmless"), title=f"Use {TOKEN}")
        (leak,) = [json.loads(line) for line in shammah("examples", "scan", "--json").stdout.splitlines()]
        assert (leak["kind"], leak["id"], leak["kinds"]) == ("conversation", "talk", ["access token"])
        rows(shammah("examples", "scan", "--fix", "--json"))
        assert app.conversations.conversation("talk").title == "Use [redacted access token]"

    def test_what_was_told_of_adapters(self, shammah, app, home):
        receipts, probes, notes = Receipts(app.database), Probes(app.database), AdapterNotes(app.database)
        receipts.put("run", None, {"asked": [{"after": f"Use {TOKEN}"}]})
        receipts.put("harmless", None, {"asked": [{"after": "Use this"}]})
        probe = probes.add("Which one?", [TOKEN, "none"])
        notes.label("lora-1", TOKEN)
        notes.tag("lora-2", [f"with {TOKEN}", "kept"])
        notes.tag("lora-3", ["harmless"])
        app.close()
        found = [json.loads(line) for line in shammah("examples", "scan", "--json").stdout.splitlines()]
        assert [(leak["kind"], leak["id"]) for leak in found] == [
            ("receipt", "run"),
            ("probe", probe.id),
            ("adapter", "lora-1"),
            ("adapter", "lora-2"),
        ]
        assert len(rows(shammah("examples", "scan", "--fix", "--json"))) == 4
        assert not any(TOKEN.encode() in file.read_bytes() for file in home.rglob("*") if file.is_file())
        assert shammah("examples", "scan").returncode == 0
        with closing(Database(home / "shammah.db")) as database:
            assert Receipts(database).get("run").body == {"asked": [{"after": "Use [redacted access token]"}]}
            assert Probes(database).all()[0].contains == ("[redacted access token]", "none")
            after = AdapterNotes(database).all()
        assert after["lora-1"].label is None and after["lora-2"].tags == ("with [redacted access token]", "kept")
        assert after["lora-3"].tags == ("harmless",)

    def test_two_replies_that_only_differed_in_a_secret_leave_no_target(self, shammah, app, an_example):
        example = an_example("Mail?", "Ask anna@example.org", rejected="Ask ben@example.org", level="critical")
        app.desk.examples.put(example)
        rows(shammah("examples", "scan", "--fix", "--json"))
        after = app.desk.examples.get(example.id)
        assert after.target is None and after.rejected == "Ask [redacted e-mail address]"


class TestReview:
    def test_it_needs_a_terminal(self, shammah, stored):
        result = shammah("examples", "review", "--status", "needs-target", "--rating", "critical")
        assert result.returncode == 2 and b"terminal" in result.stderr
