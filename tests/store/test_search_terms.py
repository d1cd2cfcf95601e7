import pytest

from shammah.store.search_terms import search_terms


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("hello", '"hello"*'),
        ("hello world", '"hello" "world"*'),
        ('"hello world"', '"hello world"'),
        ('say "hello  world" now', '"say" "hello world" "now"*'),
        ('say "hello wor', '"say" "hello wor"*'),
        ("NOT a OR b*", '"NOT" "a" "OR" "b*"*'),
        ("query:secret -x (y)", '"query:secret" "-x" "(y)"*'),
        ("a\0b\ud800c", '"a" "b" "c"*'),
        ('5" disk', '"5" "disk"*'),
    ],
)
def test_words_are_quoted_and_the_last_one_may_be_begun(text, match):
    assert search_terms(text).match == match
    assert search_terms(text).patterns == ()


@pytest.mark.parametrize(
    ("text", "match", "patterns"),
    [
        ("\u6a5f\u68b0", "", ("%\u6a5f\u68b0%",)),
        ("GPU\u52a0\u901f", "", ("%GPU\u52a0\u901f%",)),
        ("gpu \u52a0\u901f", '"gpu"', ("%\u52a0\u901f%",)),
        ("\u52a0\u901f gpu", '"gpu"*', ("%\u52a0\u901f%",)),
        ('"\u6771 \u4eac"', "", ("%\u6771 \u4eac%",)),
        ("\u0e20\u0e32\u0e29\u0e32", "", ("%\u0e20\u0e32\u0e29\u0e32%",)),
        ("\ud559\uad50", "", ("%\ud559\uad50%",)),
        ("\U0001f389", "", ("%\U0001f389%",)),
        ("100% \\ _", '"100%"', ("%\\\\%", "%\\_%")),
    ],
)
def test_what_the_index_cannot_find_is_looked_for_by_letters(text, match, patterns):
    terms = search_terms(text)
    assert (terms.match, terms.patterns) == (match, patterns)


@pytest.mark.parametrize("text", ["", "  \n", '"', '""', '" "', "\0", "\ud800"])
def test_nothing_to_look_for(text):
    assert not search_terms(text)


# What the terms find in a database


def queries(turns):
    return [turn.query for turn in turns]


def test_words_are_found_wherever_they_stand(conversations, say):
    say("How do I bake bread?", "Mix flour and water.")
    say("And cake?", "Take more sugar.", note="Forgot the EGGS")
    assert queries(conversations.search("bake")) == ["How do I bake bread?"]
    assert queries(conversations.search("FLOUR")) == ["How do I bake bread?"]
    assert queries(conversations.search("eggs")) == ["And cake?"]
    assert queries(conversations.search("sugar eggs cake")) == ["And cake?"]
    assert conversations.search("flour sugar") == []
    assert conversations.search("") == conversations.search() == conversations.search(limit=None)


def test_accents_do_not_count(conversations, say):
    say("Caf\u00e9 \u1ec7")
    assert len(conversations.search("cafe")) == len(conversations.search("CAF\u00c9")) == 1
    assert len(conversations.search("e caf\u00e9")) == 1


def test_the_last_word_may_be_begun_and_only_the_last(conversations, say):
    say("temperature settings")
    assert len(conversations.search("temp")) == 1
    assert len(conversations.search("settings temp")) == 1
    assert conversations.search("temp settings") == []
    assert conversations.search('"temp"') == []


def test_words_in_quotes_stand_together(conversations, say):
    say("the cat sat")
    assert len(conversations.search('"cat sat"')) == 1
    assert len(conversations.search('"cat sat" the')) == 1
    assert len(conversations.search('the "cat sa')) == 1
    assert conversations.search('"sat cat"') == []
    assert conversations.search('"the sat"') == []


@pytest.mark.parametrize("text", ["AND", "cat OR dog", "NOT cat", "cat NEAR dog", "NEAR(cat dog)", "query:cat", "^cat"])
def test_operators_are_words(conversations, say, text):
    say(f"about {text} here")
    say("dog")
    say("caterpillar")
    assert queries(conversations.search(text + " here")) == [f"about {text} here"]


@pytest.mark.parametrize(
    "text",
    [
        '"', '""', '"""', '" "', 'a"', '"a', 'a "b" "', "*", "a*", "*a", "a**", "-", "-a", "a -b", "--", "+", "a+b",
        "(", ")", "()", "(a", "{a b}", ":", "a:", ":a", "query:", "{query response}:a", "^", "^a", "AND", "AND AND",
        "a AND", "OR a", "NOT", "NEAR", "NEAR(a, 5)", "'", "''", "a'b", ";", "a; DROP TABLE turns", "\\", "%", "_",
        "\0", "a\0b", "\ud800", "\udcff a", "\u200d", "\u0301", "\U0001f389", "a \U0001f389", "\u6771", "\u6771*",
        '"\u6771', "?", "?1", ":name", "@", "#", "$", ",", ".", "...", "\t", "\n", " ", "", "x" * 100_000,
        "x " * 50_000, '"' * 10_001, "\u6771 " * 5_000, "\u6771" * 100_000, "- " * 5_000,
    ],
)  # fmt: skip
def test_no_text_is_an_error(conversations, say, text):
    say("a b")
    conversations.search(text)
    conversations.search(text, conversation=text, model=text)


def test_a_search_without_words_finds_nothing(conversations, say):
    say()
    assert conversations.search('""') == []
    assert conversations.search("\0") == []


def test_emoji_and_signs_are_found(conversations, say):
    say("well done \U0001f389")
    say("a -> b, 100% sure")
    assert queries(conversations.search("\U0001f389")) == ["well done \U0001f389"]
    assert queries(conversations.search("done \U0001f389")) == ["well done \U0001f389"]
    assert queries(conversations.search("->")) == ["a -> b, 100% sure"]
    assert queries(conversations.search("%")) == ["a -> b, 100% sure"]
    assert conversations.search("\U0001f680") == conversations.search("_") == conversations.search("b \U0001f389") == []


def test_scripts_without_spaces_are_found_inside_their_runs(conversations, say):
    say("\u6771\u4eac\u3067\u6a5f\u68b0\u5b66\u7fd2\u3092\u5b66\u3076", "GPU\u52a0\u901f with torch")
    say("\u4eac\u90fd", note="\ub300\ud559\uad50\uc5d0\uc11c")
    japanese, korean = queries(conversations.search())[::-1]
    assert queries(conversations.search("\u6a5f\u68b0")) == [japanese]
    assert queries(conversations.search("\u5b66")) == [japanese]
    assert queries(conversations.search("\u6a5f\u68b0 torch")) == [japanese]
    assert queries(conversations.search("gpu\u52a0\u901f")) == [japanese]
    assert queries(conversations.search("\u4eac")) == [korean, japanese]
    assert queries(conversations.search("\ud559\uad50")) == [korean]
    assert conversations.search("\u5b66 keras") == conversations.search("\u6a5f\u5b66") == []


@pytest.mark.parametrize("text", ["", "question", "\u6771", "question \u6771"])
def test_newest_first_and_no_more_than_the_limit(conversations, say, text):
    for number in range(30):
        say(f"question {number} \u6771")
    newest = [f"question {number} \u6771" for number in reversed(range(30))]
    assert queries(conversations.search(text, limit=None)) == newest
    assert queries(conversations.search(text)) == newest[:20]
    assert queries(conversations.search(text, limit=4)) == newest[:4]
    assert conversations.search(text, limit=0) == []


@pytest.mark.parametrize("text", ["", "common", "\u6771", "common \u6771"])
def test_search_within_a_conversation_or_a_model(conversations, say, text):
    for name in ("one", "two"):
        for model in ("small", "large"):
            say(f"{name} {model} common \u6771", conversation_id=name, model=model)
    found = queries(conversations.search(text, conversation="one"))
    assert found == ["one large common \u6771", "one small common \u6771"]
    found = queries(conversations.search(text, model="large"))
    assert found == ["two large common \u6771", "one large common \u6771"]
    assert queries(conversations.search(text, conversation="two", model="small")) == ["two small common \u6771"]
    assert conversations.search(text, conversation="on") == [], "a shortened id is for looking up, not for search"


def test_the_index_follows_changes(database, conversations, say, check_index):
    turn = say("first words", "reply", note="remark")
    with database.transaction() as connection:
        connection.execute("UPDATE turns SET query = 'second thoughts', note = NULL WHERE id = ?", (turn.id,))
    assert conversations.search("first") == conversations.search("remark") == []
    assert queries(conversations.search("second reply")) == ["second thoughts"]
    with database.transaction() as connection:
        connection.execute("UPDATE turns SET note = 'later', quality = 1 WHERE id = ?", (turn.id,))
    assert conversations.search("later")[0].note == "later"
    check_index(database)


def test_the_index_survives_vacuum(database, conversations, say, check_index):
    for number in range(5):
        say(f"gone {number}", conversation_id="gone")
        say(f"kept {number}")
    conversations.delete_conversation("gone")
    database.connection.execute("VACUUM")
    assert queries(conversations.search("kept 3")) == ["kept 3"]
    check_index(database)
