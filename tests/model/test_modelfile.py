"""A Modelfile writes conversations as the model's own template does, in the language of Ollama's templates."""

import json
import re

import pytest
from support.gguf_bases import TEMPLATE, a_tokenizer, save_base
from tokenizers.processors import TemplateProcessing

from shammah.config import GenerationSettings
from shammah.errors import ModelError
from shammah.model.chat_format import PLAIN_STOPS, PLAIN_TEMPLATE, ChatFormat
from shammah.model.modelfile import modelfile, turns_of
from shammah.records import Message

WITH_A_SYSTEM_OF_ITS_OWN = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nBe \"good\".<|im_end|>\n"
    "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WITHOUT_ANY_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}"
    "<turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n{{ m['content'] | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
THINKING = TEMPLATE + "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
COUNTING = "{% for m in messages %}{{ loop.index }}:{{ m['content'] }}\n{% endfor %}"
SILENT = "{% for m in messages %}{{ m['role'] }}{% endfor %}"

CONVERSATIONS = [
    [Message("user", "Hello?")],
    [Message("system", "Be brief."), Message("user", "Hello?")],
    [Message("user", "1\n2"), Message("assistant", 'A "quoted" one.'), Message("user", "{{ .Role }}?")],
    [
        *(Message("system", "S"), Message("user", "a"), Message("assistant", "b"), Message("user", "c")),
        *(Message("assistant", "d"), Message("user", "e")),
    ],
]


def format_with(template, *, thinking=True):
    tokenizer = a_tokenizer()
    tokenizer.chat_template = template
    return ChatFormat(tokenizer, thinking=thinking)


def by_ollama(template, messages):
    """What Ollama makes of a template, as far as ours goes: texts, fields, one variable, range, if and else."""
    actions = re.findall(r'\{\{ ((?:"(?:[^"\\]|\\.)*"|[^"])*?) \}\}', template)
    assert "".join(f"{{{{ {action} }}}}" for action in actions) == template
    return "".join(_run(actions, [0], {"Messages": messages}, {}, live=True))


def _run(actions, at, dot, known, *, live):
    while at[0] < len(actions):
        action = actions[at[0]]
        if action.startswith(("else", "end")):
            return
        at[0] += 1
        if action.startswith("range"):
            start = at[0]
            for message in dot["Messages"]:
                at[0] = start
                yield from _run(actions, at, {"Role": message.role, "Content": message.content}, known, live=live)
            at[0] += 1
        elif action.startswith("if"):
            yield from _choose(action, actions, at, dot, known, live=live)
        elif action.startswith("$"):
            name, value = re.split(r" :?= ", action)
            if live:
                known[name] = _value(value, dot, known)
        elif live:
            yield _value(action, dot, known)


def _choose(action, actions, at, dot, known, *, live):
    taken = False
    while True:
        one, other = re.search(r'if eq (\S+) (".*")', action).groups() if "if" in action else ("", "")
        now = live and not taken and (not one or _value(one, dot, known) == _value(other, dot, known))
        yield from _run(actions, at, dot, known, live=now)
        taken = taken or now
        action = actions[at[0]]
        at[0] += 1
        if action == "end":
            return


def _value(text, dot, known):
    if text.startswith('"'):
        return json.loads(text)
    return known[text] if text.startswith("$") else dot[text.removeprefix(".")]


def lines_by_ollama(text):
    """What Ollama reads in a Modelfile: no escapes, and a line ends a value wherever its quotes are closed there."""
    found, value = [], ""
    for line in "".join(each for each in text if each.isprintable() or each in "\t\r\n").splitlines(keepends=True):
        value += line
        head, _, told = value.partition(" ")
        name, _, told = told.partition(" ") if head == "PARAMETER" else (head, "", told)
        closed = _unquoted(told.strip())
        if closed is not None:
            found.append((name, closed))
            value = ""
    assert not value, "a quote is not closed"
    return found


def _unquoted(told):
    for mark in ('"""', '"'):
        if told.startswith(mark):
            whole = len(told) >= 2 * len(mark) and told.endswith(mark)
            return told[len(mark) : -len(mark)] if whole else None
    return told


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("template", [TEMPLATE, WITH_A_SYSTEM_OF_ITS_OWN, WITHOUT_ANY_SYSTEM, PLAIN_TEMPLATE, THINKING])
def test_a_conversation_is_written_as_by_the_template(template, messages):
    written = format_with(template, thinking=False)
    assert by_ollama(turns_of(written).template(), messages) == written.render(messages)


def test_what_llama_cpp_puts_before_a_text_is_not_put_there_twice():
    written = format_with(WITHOUT_ANY_SYSTEM)
    template = turns_of(written, "<|im_start|>").template()
    for messages in CONVERSATIONS:
        assert "<|im_start|>" + by_ollama(template, messages) == written.render(messages)


@pytest.mark.parametrize("template", [COUNTING, SILENT])
def test_a_template_that_does_more_is_refused(template):
    with pytest.raises(ModelError, match="can't be told to Ollama") as caught:
        turns_of(format_with(template))
    assert "--to gguf" in caught.value.hint


class TestTheWholeFile:
    def text(self, folder, context=0, system="", **settings):
        return modelfile(
            folder, "model.gguf", GenerationSettings(**settings), system=system, context=context, thinking=True
        )

    def lines(self, folder, **options):
        return self.text(folder, **options).splitlines()

    def test_it_has_the_weights_the_template_and_the_parameters(self, tmp_path):
        lines = self.lines(save_base("llama", tmp_path), temperature=0.25, top_k=7, max_tokens=99, stop=("###",))
        assert lines[0] == "FROM ./model.gguf"
        assert lines[1].startswith('TEMPLATE """{{') and lines[1].endswith('"""')
        assert lines[2:] == [
            "PARAMETER temperature 0.25",
            "PARAMETER top_p 0.9",
            "PARAMETER top_k 7",
            "PARAMETER repeat_penalty 1.0",
            "PARAMETER repeat_last_n -1",
            "PARAMETER num_predict 99",
            "PARAMETER num_ctx 128",
            'PARAMETER stop "<|im_end|>"',
            'PARAMETER stop "###"',
        ]

    def test_ollama_reads_every_stop_and_the_system_prompt_as_they_are(self, tmp_path):
        tokenizer = a_tokenizer()
        tokenizer.chat_template = None
        stops = ("\n\n", 'say "', '"', '"\nQ', "\\n", " two spaces ", "\t", 'a"""b', "a\r\nb")
        system = ' Say "yes"\nor \\no\\.\n\n'
        read = lines_by_ollama(
            self.text(save_base("llama", tmp_path, tokenizer=tokenizer), system=system, stop=stops),
        )
        told = [value for name, value in read if name == "stop"]
        assert told == ["<|im_end|>", *PLAIN_STOPS, *stops]
        assert [value for name, value in read if name == "SYSTEM"] == [system]
        assert len(read) == len(told) + 10

    @pytest.mark.parametrize(
        ("text", "what"), [('Like """\nthis.', 'a line that ends in """'), ("wide\u00a0space", "the character U+00A0")]
    )
    @pytest.mark.parametrize("setting", ["system", "stop"])
    def test_what_no_modelfile_holds_is_refused(self, tmp_path, text, what, setting):
        given = {"system": text} if setting == "system" else {"stop": (text,)}
        with pytest.raises(ModelError, match=f"can't be told to Ollama: no Modelfile holds {re.escape(what)}"):
            self.text(save_base("llama", tmp_path), **given)

    def test_a_seed_and_a_window_that_were_set(self, tmp_path):
        lines = self.lines(save_base("llama", tmp_path), context=64, seed=5)
        assert {"PARAMETER num_ctx 64", "PARAMETER seed 5"} <= set(lines)

    @pytest.mark.parametrize(("asked", "told"), [(0, 8192), (9000, 9000), (16384, 10000)])
    def test_only_a_window_that_nobody_asked_for_is_kept_small(self, tmp_path, asked, told):
        folder = save_base("llama", tmp_path, max_position_embeddings=10000)
        assert f"PARAMETER num_ctx {told}" in self.lines(folder, context=asked)

    def test_a_token_that_begins_every_text_is_left_to_llama_cpp(self, tmp_path):
        tokenizer = a_tokenizer()
        tokenizer.chat_template = WITHOUT_ANY_SYSTEM
        before = self.lines(save_base("llama", tmp_path / "one", tokenizer=tokenizer))
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
        )
        after = self.lines(save_base("llama", tmp_path / "two", tokenizer=tokenizer))
        assert "<|im_start|>" in before[1] and "<|im_start|>" not in after[1]
