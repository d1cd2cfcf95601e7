"""Notes: which are rules, which of them exclude each other, and how the model is given them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.feedback.notes import as_rule, as_statement, contradicts, is_fact, is_rule, speaks_of_length, with_rules
from shammah.records import Message

# The first eight are those of the learning suite.
RULES = """
Our deploy script is called launchpad.sh
Always handle file I/O errors properly, never unwrap
Staging uses port 8443
Say that the rota lives in #oncall and never guess a name
Use our style: lower-case type, colon, imperative
You are Shammah
Always metric
Use pathlib, not os
Always answer in French
Never guess a name
Don't apologise
Please answer in French
You should mention the rota
Replies must fit on one screen
Prefer lists to tables
Keep it short
Be brief
In French please
No emojis
The rota lives in #oncall
My name is Ana
We use PostgreSQL 16
I prefer metric units
I am a vegetarian
I live in Oslo
When I ask for code, use Python
For commit messages use lower-case
If you are not sure, say so
You must never invent a port
You work for Acme
Your name is Shammah
Ana is our manager
The office closes at six
Code must have type annotations
Metric only
Bullet points please
pathlib instead of os
At most three sentences
Less jargon
Wrong. Our deploy script is called launchpad.sh
No, staging uses port 8443
Too long. Keep it under three lines
Next time, mention the rota
don’t use semicolons
From now on call me Captain
We don't use Jira
Invoices go to billing@acme.example
Paris is the capital of France
The door code is 4321
Answers should start with the conclusion
Do not mention the price
Only answer what I ask
Avoid passive voice
I'd like you to answer in verse
The list of servers is in servers.md
""".strip().splitlines()

REMARKS = """
This is perfect
That is wrong
it's too long
wrong
bad answer
the answer is incomplete
I don't like it
you forgot the second part
not what I asked
What is this?
Thanks!
thank you, that helped a lot
Great answer
too short
You are wrong
you're repeating yourself
This makes no sense
The code does not compile
The code is broken
No good
No idea what you mean
Never mind
Try again
That should be port 8443
It should be shorter
You should have mentioned the rota
I asked for a list
I think this is off
It's called launchpad.sh
You missed the point
Nice, but a bit too formal
the second part is missing
Not helpful at all
Everything is made up
Half the facts are invented
I don't understand
I am not happy with this
Your answer is wrong
Wrong port
Very good
Looks good to me
Answer is wrong
Answer the question
Fix it
Why did you use os?
The link is dead
your tone is off
perfect, thanks
hallucinated
Do it again
always the same mistake
The last line has a typo
Do you even read what I write?
meh
Tell me more
The port is wrong
French is fine
The deploy script does not exist
The capital is not what I asked for
""".strip().splitlines()

# Written when the word lists were finished. At first sight 23 of these 25 rules and 24 of the 25 remarks were told
# right; the other three were mended after that.
LATER_RULES = """
Use snake_case for function names
Mention our refund policy when somebody asks about returns
The cafeteria opens at 11:30
Don't use the word "leverage"
Our customers are mostly dentists
I'm allergic to nuts
Address me as Dr. Lee
Write dates as 2024-01-31
You speak like a pirate
Every function needs a docstring
Tickets live in Linear, not Jira
Never recommend a competitor
Emails must end with the disclaimer
Quote prices in euros
Production is on eu-west-1
Explain acronyms the first time they appear
My dog is called Bruno
Stick to British spelling
No more than two paragraphs
If somebody is rude, stay calm
Round amounts to two decimals
We deploy on Tuesdays
Sign off with "Best, Sam"
The wifi password is on the fridge
Make sure to cite sources
""".strip().splitlines()

LATER_REMARKS = """
Completely off
Way too technical for me
That isn't how it works
The third step doesn't work
You made that up
I already knew that
Good, but the ending is weak
This has nothing to do with my question
Wrong function name
It ignores the edge case
Why so long?
Excellent work
Not bad
I wanted a table
Your example crashes
The tone is too stiff
You answered in German
Misses the point entirely
Reads like marketing
Nope, try harder
The numbers do not add up
Exactly what I needed
There are typos in it
It would be nicer as a list
Sorry, that was my mistake
""".strip().splitlines()


@pytest.mark.parametrize("note", RULES + LATER_RULES)
def test_an_order_or_a_fact_is_a_rule(note: str) -> None:
    assert is_rule(note)


@pytest.mark.parametrize("note", REMARKS + LATER_REMARKS)
def test_a_remark_on_the_reply_is_none(note: str) -> None:
    assert not is_rule(note)


def test_there_are_enough_cases_to_mean_something() -> None:
    assert len({*RULES, *LATER_RULES}) >= 75 and len({*REMARKS, *LATER_REMARKS}) >= 75


@pytest.mark.parametrize("note", ["", "   ", "\n", "Metric", "?", "...", "🙂 🙂", "use " * 80])
def test_what_says_nothing_and_what_says_too_much_is_no_rule(note: str) -> None:
    assert not is_rule(note)


@given(st.text(max_size=200))
def test_no_text_is_too_strange_to_be_judged(note: str) -> None:
    assert isinstance(is_rule(note), bool) and isinstance(speaks_of_length(note), bool)
    assert as_rule(as_rule(note)) == as_rule(note)
    assert "\n" not in as_rule(note) and as_rule(note) == as_rule(note).strip()


@given(st.sampled_from(RULES), st.sampled_from(RULES))
def test_it_does_not_matter_which_rule_comes_first(one: str, other: str) -> None:
    assert contradicts(one, other) == contradicts(other, one)
    assert not contradicts(one, one)


def test_facts_are_told_from_orders() -> None:
    facts = ["Staging uses port 8443", "Our deploy script is called launchpad.sh", "You are Shammah", "My name is Ana"]
    orders = ["Always metric", "Use pathlib, not os", "Say that the rota lives in #oncall and never guess a name"]
    assert all(map(is_fact, facts)) and not any(map(is_fact, orders))
    assert not is_fact("That is wrong")


# Tidying


@pytest.mark.parametrize(
    ("note", "rule"),
    [
        ("  Always   metric \n", "Always metric"),
        ("Please answer in French", "Answer in French"),
        ("please, keep it short.", "Keep it short."),
        ("Keep it short, please!", "Keep it short!"),
        ("In French please", "In French"),
        ("Use tabs\nand no spaces", "Use tabs and no spaces"),
        ("Our script is called please.sh", "Our script is called please.sh"),
        ("pathlib, not os", "pathlib, not os"),
    ],
)
def test_a_rule_is_the_note_on_one_line_without_please(note: str, rule: str) -> None:
    assert as_rule(note) == rule


def test_a_statement_has_one_end_mark() -> None:
    assert as_statement("Our script is called launchpad.sh") == "Our script is called launchpad.sh."
    assert as_statement("Always metric!") == "Always metric!"
    assert as_statement('Say "Hello."') == 'Say "Hello."'
    assert as_statement(" ") == ""


# Length


@pytest.mark.parametrize(
    "note",
    """
    shorter
    too long
    Way too short!
    more detail please
    one sentence
    Answer briefly
    in 3 lines
    Be concise
    I want a more detailed answer
    Keep it under 50 words
    Use at most two paragraphs
    too wordy
    Summarise it
    fewer words
    Get to the point
    a longer explanation
    Not enough detail
    single-sentence answers only
    """.strip().splitlines(),
)
def test_a_note_on_length_is_known(note: str) -> None:
    assert speaks_of_length(note)


@pytest.mark.parametrize(
    "note",
    """
    Use pathlib, not os
    Staging uses port 8443
    Our deploy script is called launchpad.sh
    Use long names
    Always metric
    Show the line numbers
    Think of the long term
    Say that the rota lives in #oncall and never guess a name
    Wrong port
    The belong relation is missing
    Use 4 spaces
    Give both options
    """.strip().splitlines(),
)
def test_a_note_on_something_else_is_not_taken_for_one(note: str) -> None:
    assert not speaks_of_length(note)


# Contradictions

# Of the last sixteen of each kind, written when the comparison was finished, 31 of 32 were told right at first sight.
CONTRADICTIONS = """
Always use tabs | Never use tabs
Use os | Don't use os
Always answer in French | Always answer in German
Staging uses port 8443 | Staging uses port 9000
Our deploy script is called a.sh | Our deploy script is called b.sh
Always metric | Always imperial
You are Shammah | You are Bob
Use pathlib, not os | Use os
Please reply in German | Answer in French.
Use metric units | Use imperial units
No emojis | Use emojis
Avoid emojis | Always use emojis
We use Jira | We don't use Jira
My name is Ana | My name is Bea
The rota lives in #oncall | The rota lives in #support
We use PostgreSQL 16 | We use PostgreSQL 15
Keep it short | Keep it detailed
Call me Ana | Call me Captain
Use tabs for indentation | Use spaces for indentation
Prefer tabs over spaces | Prefer spaces over tabs
At most 3 sentences | At most 5 sentences
Send invoices to Ana | Send invoices to Bob
Sign off with Best | Sign off with Cheers
You are Shammah | You are not Shammah
Our office is in Oslo | Our office is in Bergen
Be formal | Be casual
Don't apologise | Apologise
Write in English | Write in Dutch
The meeting is on Monday | The meeting is on Thursday
Round to two decimals | Round to three decimals
Never mention the price | Always mention the price
Our CEO is Kim | Our CEO is Lee
Use camelCase | Use snake_case
Replies must be short | Replies must be long
You should use tabs | You should not use tabs
Quote prices in euros | Quote prices in dollars
Python 3.12 is required | Python 3.12 is not required
I live in Oslo | I live in Bergen
Answer in JSON | Answer in YAML
The cafeteria opens at 11:30 | The cafeteria opens at 12:00
Do not use semicolons | Use semicolons
Address me as Dr. Lee | Address me as Ana
Start with a summary | Start with a question
""".strip().splitlines()

NO_CONTRADICTIONS = """
Use pathlib, not os | Use metric units
Our deploy script is called a.sh | Our database is called b
Staging uses port 8443 | Production uses port 443
Never guess a name | Never guess a port
Always metric | Always polite
Always answer in French | Always answer in one sentence
You are Shammah | You are a helpful assistant
We use Jira | We use Slack
Ana likes tea | Ana likes Oslo
Ana speaks French | Ana speaks German
Mention the price | Mention the date
Give examples | Give sources
Staging uses port 8443 | Production uses port 8443
Be brief | Be concise
Use tabs | Use pathlib
Never use tabs | Never use spaces
Use tabs, not spaces | Never use spaces
Our office is in Oslo | Our office is closed on Sundays
Room 12 is free | Room 13 is free
Call me Ana | Never call me Bob
Keep it short | Keep it formal
Always handle file errors, never unwrap | Never unwrap
Don't use os | Use pathlib, not os
My name is Ana | My dog is called Rex
Use examples | Don't use jargon
Our deploy script is called a.sh | Our deploy script is called a.sh
Say that the rota lives in #oncall and never guess a name | Say that the office is in Oslo
Write in English | Write in lower case
The meeting is on Monday | The meeting is in Oslo
Round to two decimals | Use two spaces
Never mention the price | Always mention the date
Our CEO is Kim | Our CTO is Lee
Replies must be short | Replies must be polite
I live in Oslo | I work in Bergen
I like short answers | I like tea
We deploy on Tuesdays | We meet on Fridays
Write tests for parsers | Write docs for parsers
The door code is 4321 | The alarm code is 1234
Add a title | Add a summary
Tickets live in Linear | Docs live in Notion
Always cite sources | Always be kind
Use 4 spaces | Use at most 3 sentences
Our customers are dentists | Our suppliers are dentists
""".strip().splitlines()


def pair(line: str) -> tuple[str, str]:
    one, other = line.split(" | ")
    return one.strip(), other.strip()


@pytest.mark.parametrize("line", CONTRADICTIONS)
def test_rules_that_exclude_each_other_are_found(line: str) -> None:
    one, other = pair(line)
    assert contradicts(one, other) and contradicts(other, one)


@pytest.mark.parametrize("line", NO_CONTRADICTIONS)
def test_rules_that_only_look_alike_are_left_alone(line: str) -> None:
    one, other = pair(line)
    assert not contradicts(one, other) and not contradicts(other, one)


# What the model is given

TALK = (
    Message("system", "Be kind."),
    Message("user", "Hi"),
    Message("assistant", "Hello!"),
    Message("user", "What units?"),
)


def test_without_rules_the_messages_are_what_they_were() -> None:
    assert with_rules(TALK, [], place="question") == TALK == with_rules(TALK, ["  "], place="system")


def test_before_the_question_rules_are_plain_statements_one_a_line() -> None:
    *before, asked = with_rules(TALK, ["Always metric", "Please be brief!"], place="question")
    assert tuple(before) == TALK[:-1]
    assert asked == Message("user", "Always metric.\nBe brief!\n\nWhat units?")


def test_they_stand_before_the_last_question_even_if_more_follows_it() -> None:
    more = (*TALK, Message("assistant", "Well"))
    assert with_rules(more, ["Always metric"], place="question")[3:] == (
        Message("user", "Always metric.\n\nWhat units?"),
        Message("assistant", "Well"),
    )


def test_in_the_system_prompt_they_are_a_list_at_its_end() -> None:
    first, *rest = with_rules(TALK, ["Always metric", "Be brief"], place="system")
    assert first == Message("system", "Be kind.\n\nFollow these rules:\n- Always metric.\n- Be brief.")
    assert tuple(rest) == TALK[1:]


def test_a_system_prompt_is_made_where_there_is_none() -> None:
    made = with_rules(TALK[1:], ["Always metric"], place="system")
    assert made == (Message("system", "Follow these rules:\n- Always metric."), *TALK[1:])


def test_where_nothing_was_asked_yet_they_go_into_the_system_prompt() -> None:
    assert with_rules(TALK[:1], ["Be brief"], place="question") == with_rules(TALK[:1], ["Be brief"], place="system")
