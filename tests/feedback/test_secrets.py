import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shammah.feedback.secrets import KINDS, Redacted, find, redact, redacted_kinds

GENERAL = [
    json.loads(line) for line in Path(__file__).with_name("general_replies.jsonl").read_text("utf-8").splitlines()
]
# Random, and nobody's: put together here so that no scanner of this repository takes them for real ones.
LETTERS = "q8Zr2LkP0vXw7TnB5mYs9DhFjG3cQa6RtU1eWoIp4SdKyNxMz"
HEX = "9f2c47d1be8a06573ce4f1a9d2b8076e5c3f1a9d7b2e4c608f1d3a5b7c9e0f24"
BASE64_KEY = "\n".join(f"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ{LETTERS[n : n + 12]}" for n in range(8))


def pem(kind, body=BASE64_KEY):
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----"


# What is written, what of it is the secret, and what the secret is called.
PLANTED = [
    ("Use {} as the key.", "AKIA" + "Q8ZR2LKP0VXW7TNB", "API key"),
    ("Use {} as the key.", "AKIA" + "IOSFODNN7EXAMPLE", "API key"),
    ("aws_secret_access_key = {}", LETTERS[:20] + "/" + LETTERS[20:39], "API key"),
    ("OPENAI: {}", "sk-proj-" + LETTERS[:40], "API key"),
    ("It was {}, I think", "sk-" + LETTERS[:24], "API key"),
    ("key {}", "sk-ant-api03-" + LETTERS + "-" + LETTERS[:30] + "AA", "API key"),
    ("maps?key={}", "AIza" + LETTERS[:35], "API key"),
    ("stripe: {}", "sk_live_" + LETTERS[:24], "API key"),
    ("stripe: {}", "rk_test_" + LETTERS[:24], "API key"),
    ("sendgrid {}", f"SG.{LETTERS[:22]}.{LETTERS[:43]}", "API key"),
    ("mailchimp {}", HEX[:32] + "-us12", "API key"),
    ("twilio {}", "SK" + HEX[:32], "API key"),
    ('{{"api_key": "{}"}}', "a8f7d6e5c4b3", "API key"),
    ("x-api-key: {}", "Ab3dEf6hIj9l", "API key"),
    ("AccountName=x;AccountKey={};EndpointSuffix=core", LETTERS + LETTERS[:37] + "==", "API key"),
    ("token {}", "hf_" + LETTERS[:34], "access token"),
    ("push with {} please", "ghp_" + LETTERS[:36], "access token"),
    ("push with {} please", "github_pat_" + LETTERS[:22] + "_" + LETTERS[:40], "access token"),
    ("gitlab {}", "glpat-" + LETTERS[:20], "access token"),
    ("slack {}", "xoxb-" + "123456789012-1234567890123-" + LETTERS[:24], "access token"),
    ("post to {}", "https://hooks.slack.com/services/T0AB12CD3/B0EF45GH6/" + LETTERS[:24], "access token"),
    ("discord {}", f"M{LETTERS[:23]}.{LETTERS[:6]}.{LETTERS[:27]}", "access token"),
    ("bot {}", f"{'1234567890'}:{LETTERS[:35]}", "access token"),
    ("upload with {}", "pypi-AgEIcHlwaS5vcmc" + LETTERS + LETTERS[:25], "access token"),
    ("//registry.npmjs.org/:_authToken={}", "npm_" + LETTERS[:36], "access token"),
    ("//registry.acme.org/:_authToken={}", "Zm9vOmJh" + LETTERS[:20], "access token"),
    ("session {}", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{LETTERS[:43]}", "access token"),
    ("Authorization: Bearer {}", LETTERS[:32], "access token"),
    ("auth_token = '{}'", HEX[:40], "access token"),
    ("Authorization: Basic {}", "Ym9iOmh1bnRlcjJ4eXo=", "password"),
    ("password = {}", "hunter2xyz", "password"),
    ("my password is {}, don't tell", "hunter2", "password"),
    ("I set the password to {}.", "Tr0ub4dor", "password"),
    ("DB_PASSWORD={}\nDB_HOST=db", "Sommerregen", "password"),
    ('login(user="bob", password="{}")', "Winter!Sonne", "password"),
    ("password: str = '{}'", "s3cr3tpw", "password"),
    ('{{\\"password\\": \\"{}\\"}}', "hunter2xyz", "password"),
    ("Server=db;User Id=sa;Password={};", "P@ssw0rd1", "password"),
    ("CREATE USER app IDENTIFIED BY '{}'", "gr8pw4all", "password"),
    ("mysqldump --password {} shop", "hunter2xyz", "password"),
    ("curl -u bob:{} https://acme.org/", "hunter2xyz", "password"),
    ("postgres://bob:{}@db.acme.org/shop", "s3cr3tpw", "password"),
    ("my api key is {}", HEX[:32], "API key"),
    ("password={}", "correcthorsebatterystaple", "password"),
    ("spring.datasource.password={}\nx=1", "correcthorsebatterystaple", "password"),
    ("Server=db;Password={};", "correcthorsebatterystaple", "password"),
    ("pw: {}", "s3cr3t99", "password"),
    ("pay with {}.", "4242.4242.4242.4242", "card number"),
    ("amex {}", "3782.822463.10005", "card number"),
    ("write to {} today", "jane.doe+news@acme-mail.co.uk", "e-mail address"),
    ("<{}>", "jane.doe@example.com", "e-mail address"),
    ("pay with {} exp 12/27", "4111 1111 1111 1111", "card number"),
    ("pay with {}.", "5500-0000-0000-0004", "card number"),
    ("amex {}, 1234", "3782 822463 10005", "card number"),
    ("card:{}", "6011000990139424", "card number"),
    ("salt = '{}'", LETTERS[:32], "high-entropy string"),
    ("X={}", HEX[:48], "high-entropy string"),
    ("{}", pem("PRIVATE KEY"), "private key"),
    ("my key\n{}\nthat was it", pem("RSA PRIVATE KEY"), "private key"),
    ("{} and so on", pem("OPENSSH PRIVATE KEY"), "private key"),
    ("{}\n", pem("PGP PRIVATE KEY BLOCK", "Version: 2\n\n" + BASE64_KEY), "private key"),
    ("{}", pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: DES,1F\n\n" + BASE64_KEY), "private key"),
    ('{{"key": "{}"}}', pem("EC PRIVATE KEY").replace("\n", "\\n"), "private key"),
    (
        "{}",
        "PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 1\n" + LETTERS + "\nPrivate-MAC: " + HEX[:40],
        "private key",
    ),
    ("age: {}", "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2, "private key"),
]
HARMLESS = [
    "the password is stored in the vault",
    "set password=YOUR_PASSWORD",
    "password: str",
    "the pw is in the vault, and the api key is in the settings",
    "connect(password=databasecredentials)",
    "User(name=name, password=encryptedvalue, admin=True)",
    "self.password=encryptedvalue",
    "password=passwordFromForm",
    "password=somethingentirely(different)",
    "password = correcthorsebattery",
    "password=mysecretpassword",
    "password: Optional[str] = None",
    "password = input()",
    "password = config.database.password1",
    'os.environ["PASSWORD"]',
    "token=<token>",
    "API_KEY=xxxxxxxxxxxx",
    "password = 'changeme'",
    "PASSWORD=$(cat /run/secrets/pw1)",
    "password: /run/secrets/pw1",
    "the token is base64-encoded, the password is sha256-hashed",
    "Secret: 3-ingredient pancakes!",
    "Authorization: Bearer YOUR_TOKEN_HERE",
    "Authorization: Basic dXNlcm5hbWU6cGFzc3dvcmQ=",
    "postgres://postgres:postgres@localhost/app",
    "https://user:${PASSWORD}@acme.org",
    "fixed in 3f786850e387550fdab836ed7e6dc881de23001b",
    "sha = '3f786850e387550fdab836ed7e6dc881de23001b'",
    'sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',
    'id="550e8400-e29b-41d4-a716-446655440000"',
    'open("src/components/Navigation/HeaderBar2/index.tsx")',
    "name='recent-models-64f9a55bb3115b4f513ec026'",
    '"SGVsbG8sIHdvcmxkISBIb3cgYXJlIHlvdT8="',
    "color=#FFAABBCC",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
    "task-20240101-sk-folding-cube-container",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "name@example.com, your.name@acme.org, no-reply@acme.org",
    "git@github.com:acme/shop.git and ssh bob@server.acme.org",
    "icon@2x.png, vue@3.4.21, y = X@W.dot(b)",
    "4111 1111 1111 1112, 1234567890123456, 4111.1111.1111.1112, 1.4111.1111.1111.1111",
    "0000 0000 0000 0000 and 1735689600000000000",
]


class TestPlanted:
    @pytest.mark.parametrize(
        ("text", "secret", "kind"), PLANTED, ids=[f"{kind} {n}" for n, (_, _, kind) in enumerate(PLANTED)]
    )
    def test_it_is_found_and_gone(self, text, secret, kind):
        redacted = redact(text.format(secret))
        assert redacted.text == text.format(f"[redacted {kind}]")
        assert redacted.kinds == (kind,)

    def test_each_kind_is_planted(self):
        assert {kind for _, _, kind in PLANTED} == set(KINDS)

    def test_all_in_one_text(self):
        text = "\n\n".join(text.format(secret) for text, secret, _ in PLANTED)
        redacted = redact(text)
        assert [secret for _, secret, _ in PLANTED if secret in redacted.text] == []
        assert set(redacted.kinds) == set(KINDS)

    def test_a_private_key_without_an_end_goes_to_the_end_of_the_text(self):
        text = "Here:\n-----BEGIN RSA PRIVATE KEY-----\n" + BASE64_KEY + "\nand more"
        assert redact(text).text == "Here:\n[redacted private key]"

    def test_two_private_keys_leave_what_is_between_them(self):
        text = pem("PRIVATE KEY") + "\nand\n" + pem("EC PRIVATE KEY")
        assert redact(text).text == "[redacted private key]\nand\n[redacted private key]"

    def test_where_findings_overlap_the_whole_goes_under_the_plainest_name(self):
        token = "ghp_" + LETTERS[:36]
        assert redact(f'password="{token}!pw"').text == 'password="[redacted access token]"'
        assert redact(f"https://bob:s3cr3tpw@{'acme.org'}/").text == "https://bob:[redacted password]@acme.org/"

    def test_a_mark_ends_what_stands_before_it(self):
        text = "password=abc1def[redacted API key], password=abc2def[redacted API key]"
        assert redact(text).text == text.replace("abc1def", "[redacted password]").replace(
            "abc2def", "[redacted password]"
        )

    def test_findings_say_where_they_are(self):
        text = "é: hunter2 is not my password, my password is hunter3, mail bob@acme.org"
        assert [(one.kind, text[one.start : one.end]) for one in find(text)] == [
            ("password", "hunter3"),
            ("e-mail address", "bob@acme.org"),
        ]


class TestHarmless:
    @pytest.mark.parametrize("row", GENERAL, ids=[row["topic"] for row in GENERAL])
    def test_general_replies_hold_nothing(self, row):
        assert [row["reply"][one.start : one.end] for one in find(row["reply"])] == []

    def test_there_are_fifty_of_them(self):
        assert len(GENERAL) == len({row["reply"] for row in GENERAL}) == 50

    @pytest.mark.parametrize("text", HARMLESS)
    def test_stand_ins_hashes_and_prose_hold_nothing(self, text):
        assert redact(text) == Redacted(text, ())


# Parts of secrets and of what surrounds them, so that chance puts together what it would never find.
PARTS = st.sampled_from(
    [
        *(
            "password = ",
            "token: ",
            '"api_key": "',
            "[redacted password]",
            "[redacted ",
            "]",
            "-----BEGIN PRIVATE KEY-----",
        ),
        *(
            "-----END PRIVATE KEY-----",
            BASE64_KEY[:30],
            "hunter2xyz",
            "sk-",
            LETTERS[:30],
            "@acme.org",
            "bob",
            "://",
            ":",
        ),
        *(
            "4111 1111 1111 1111",
            "4111",
            " ",
            "-",
            "\n",
            "'",
            '"',
            "=",
            "Bearer ",
            "eyJ",
            ".",
            "\ud800",
            "\0",
            "é",
            "AKIA",
        ),
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(PARTS, max_size=30).map("".join))


class TestAnyText:
    @given(TEXTS)
    @settings(max_examples=300, deadline=None)
    @example("\ud800 password=\udfffhunter2xyz")
    @example("password = [redacted password]abc1def")
    @example("-----BEGIN PRIVATE KEY-----" + BASE64_KEY + "[redacted e-mail address]" + BASE64_KEY)
    def test_redacting_twice_changes_nothing_more(self, text):
        once = redact(text)
        assert find(once.text) == []
        twice = redact(once.text)
        assert (twice.text, twice.kinds) == (once.text, ())

    @given(TEXTS)
    @settings(max_examples=300, deadline=None)
    def test_what_is_found_is_apart_in_order_and_inside(self, text):
        found = find(text)
        edges = [edge for one in found for edge in (one.start, one.end)]
        assert edges == sorted(edges)
        assert all(0 <= one.start < one.end <= len(text) and one.kind in KINDS for one in found)
        if not found:
            assert redact(text).text == text

    def test_the_marks_tell_what_was_redacted(self):
        redacted = redact("password = hunter2xyz, mail bob@acme.org, password = hunter3xyz")
        assert redacted_kinds(redacted.text) == redacted.kinds == ("password", "e-mail address")
        assert redacted_kinds("[redacted nothing] password = hunter2xyz") == ()


HUGE = 1_000_000
LONG = {
    "one letter": "a",
    "one digit": "4",
    "random letters": LETTERS,
    "quoted random letters": f'"{LETTERS[:24]}" ',
    "prose": "The quick brown fox jumps over the lazy dog, and 42 more. ",
    "first lines of keys": "-----BEGIN PRIVATE KEY-----",
    "begun tokens": "eyJ",
    "begun keys": "sk-",
    "names": "password=",
    "names with numbers": "password1= ",
    "begun URLs": "://a:",
    "at signs": "a@a.",
    "addresses": "bob@acme.org ",
    "numbers": "4111 ",
    "spaces": " ",
    "dashes": "-",
    "quotes": '"',
    "half characters": "\ud800",
}


class TestSpeed:
    @pytest.mark.parametrize("unit", LONG.values(), ids=LONG.keys())
    def test_a_megabyte_takes_no_more_than_seconds(self, unit):
        text = (unit * (HUGE // len(unit) + 1))[:HUGE]
        redact("load the library: " + HEX[:40])
        before = time.process_time()
        redact(text)
        assert time.process_time() - before < 4  # 0.3 to 1.9 s where it was written, a pattern gone wild takes minutes

    def test_nothing_is_loaded_for_a_plain_text_and_nothing_is_asked(self):
        """No connection and no look-up of a host is made, not even for a key that could be checked."""
        script = """
            import sys
            def forbid(event, arguments):
                if event.startswith("socket.") and event not in ("socket.__new__", "socket.bind"):
                    raise RuntimeError(event)
            sys.addaudithook(forbid)
            from shammah.feedback.secrets import redact
            redact("a plain text about passwords, with a password = hunter2xyz")
            assert not any(name.startswith(("detect_secrets", "requests", "torch")) for name in sys.modules)
            kinds = redact(sys.argv[1]).kinds
            assert "detect_secrets.plugins.base" in sys.modules
            print(*kinds, sep=",", end="")
        """
        text = " ".join(["AKIA" + "Q8ZR2LKP0VXW7TNB", "ghp_" + LETTERS[:36], "xoxb-123456789012-" + LETTERS[:24]])
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), text],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.stdout, result.stderr) == ("API key,access token", "")
