"""What Ollama has to know of a model beside its GGUF file: how a conversation is written, and how replies are chosen.

Ollama has templates of its own kind. Ours is not translated but measured: what the model's template writes between the
messages of a conversation is the same for every conversation, or there is no Modelfile.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from shammah.config import GenerationSettings
from shammah.errors import ModelError
from shammah.excerpt import excerpt
from shammah.model.chat_format import ChatFormat
from shammah.model.gguf_tokenizer import adds_begin
from shammah.records import Message

_MARKERS = ("marker-of-system", "marker-of-question", "marker-of-reply", "marker-of-next")
# Where nobody asked for more: it would take a lot of memory with large models, whether it is used or not.
_LONGEST_CONTEXT = 8192
# Ollama takes this for the end of a text, and reads no characters but those that can be seen, and white space.
_ENDS_TOO_EARLY = re.compile(r'"""[ \t]*[\r\n]')
_WHITE_SPACE = " \t\r\n"
_QUESTION, _NEXT = Message("user", "One?"), Message("user", "Two\nlines?")
_SYSTEM, _REPLY = Message("system", "Be\nbrief."), Message("assistant", "1")
_CHECKED = (
    [_QUESTION],
    [_SYSTEM, _NEXT],
    [_NEXT, _REPLY, _QUESTION],
    [_SYSTEM, _QUESTION, _REPLY, _NEXT, Message("assistant", "2"), _QUESTION],
)


@dataclass(frozen=True, slots=True)
class Turns:
    """What stands before each message, by what comes before it, and at the end, where the reply begins."""

    system: str
    first_question: str
    question_after_system: str
    reply: str
    question_after_reply: str
    end: str

    def render(self, messages: Sequence[Message]) -> str:
        before = {"": self.first_question, "system": self.question_after_system, "assistant": self.question_after_reply}
        text, role = "", ""
        for message in messages:
            own = {"system": self.system, "assistant": self.reply}
            text += own.get(message.role, before.get(role, "")) + message.content
            role = message.role
        return text + self.end

    def template(self) -> str:
        """The same in the language of Ollama's templates. Texts are quoted, so that no space is taken off them."""
        return (
            '{{ $before := "" }}{{ range .Messages }}'
            f'{{{{ if eq .Role "system" }}}}{_quoted(self.system)}{{{{ .Content }}}}'
            f'{{{{ else if eq .Role "assistant" }}}}{_quoted(self.reply)}{{{{ .Content }}}}'
            f'{{{{ else }}}}{{{{ if eq $before "system" }}}}{_quoted(self.question_after_system)}'
            f'{{{{ else if eq $before "assistant" }}}}{_quoted(self.question_after_reply)}'
            f"{{{{ else }}}}{_quoted(self.first_question)}{{{{ end }}}}{{{{ .Content }}}}"
            "{{ end }}{{ $before = .Role }}"
            f"{{{{ end }}}}{_quoted(self.end)}"
        )


def format_in(folder: Path, *, thinking: bool = True) -> ChatFormat:
    """How the model in a folder is written to. Nothing is loaded but its tokenizer."""
    return ChatFormat(_tokenizer_in(folder), thinking=thinking)


def modelfile(
    folder: Path, weights: str, settings: GenerationSettings, *, system: str, context: int, thinking: bool
) -> str:
    """The text of a Modelfile for a GGUF file of the model in a folder. `context` 0 is the model's own, up to a limit;
    an empty `system` leaves it to the model's template."""
    tokenizer = _tokenizer_in(folder)
    written = ChatFormat(tokenizer, thinking=thinking)
    turns = turns_of(written, str(tokenizer.bos_token) if adds_begin(tokenizer) else "")
    ends = {str(tokenizer.eos_token or ""), *tokenizer.convert_ids_to_tokens(sorted(written.end_tokens()))}
    stops = dict.fromkeys([*sorted(end for end in ends if end), *written.stops, *settings.stop])
    window = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).max_position_embeddings
    numbers: dict[str, int | float] = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k,
        "repeat_penalty": settings.repetition_penalty,
        "repeat_last_n": -1,
        "num_predict": settings.max_tokens,
        "num_ctx": min(context or _LONGEST_CONTEXT, window),
    }
    if settings.seed >= 0:
        numbers["seed"] = settings.seed
    lines = [
        f"FROM ./{weights}",
        f'TEMPLATE """{turns.template()}"""',
        *([f"SYSTEM {_raw(system)}"] if system else []),
        *(f"PARAMETER {name} {value}" for name, value in numbers.items()),
        *(f"PARAMETER stop {_raw(stop)}" for stop in stops),
    ]
    return "\n".join(lines) + "\n"


def turns_of(written: ChatFormat, begin: str = "") -> Turns:
    """What a chat template writes around messages. `begin` is what llama.cpp puts before a text by itself."""
    system, question, reply, following = _MARKERS
    alone = _cut(written.render([Message("user", question)]), [question])
    whole = _cut(
        written.render(
            [
                Message("system", system),
                Message("user", question),
                Message("assistant", reply),
                Message("user", following),
            ]
        ),
        _MARKERS,
    )
    turns = Turns(whole[0], alone[0], whole[1], whole[2], whole[3], whole[4])
    if any(turns.render(messages) != written.render(messages) for messages in _CHECKED):
        raise _untold()
    return Turns(
        turns.system.removeprefix(begin),
        turns.first_question.removeprefix(begin),
        turns.question_after_system,
        turns.reply,
        turns.question_after_reply,
        turns.end,
    )


def _cut(text: str, markers: Sequence[str]) -> list[str]:
    """The text before, between and after the markers."""
    pieces = []
    for marker in markers:
        piece, found, text = text.partition(marker)
        if not found:
            raise _untold()
        pieces.append(piece)
    return [*pieces, text]


def _untold() -> ModelError:
    return ModelError(
        "This model's chat template can't be told to Ollama: what it writes depends on more than the roles",
        hint="Export it with --to gguf: llama.cpp reads the template itself.",
    )


def _tokenizer_in(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _quoted(text: str) -> str:
    """A text within a template. One of JSON is one of Go's too."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if text else ""


def _raw(text: str) -> str:
    """A text outside of the template, where Ollama knows no escapes: what stands between the quotes is meant."""
    hidden = next((each for each in text if not (each.isprintable() or each in _WHITE_SPACE)), "")
    if hidden or _ENDS_TOO_EARLY.search(text):
        what = f"the character U+{ord(hidden):04X}" if hidden else 'a line that ends in """'
        raise ModelError(
            f"{excerpt(text)!r} can't be told to Ollama: no Modelfile holds {what}",
            hint="Take it out of the setting `system` or `generation.stop`, or export with --to gguf.",
        )
    return f'"""{text}"""' if '"' in text else f'"{text}"'
