"""A tokenizer as llama.cpp wants it in a GGUF file. Only the byte-level kind: SmolLM, Llama 3, Qwen, newer Mistrals.

How a text is split before the merges, llama.cpp knows by a name. A wrong one gives other tokens without a word, so a
way of splitting that is not known here is refused.
"""

import json
from typing import Any

import gguf

from shammah.errors import ModelError
from shammah.model.chat_format import ChatFormat

_HINT = "Export it otherwise: --to merged, or --to gguf-lora for a GGUF of the base that is there already."
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_CUTS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
# llama.cpp's name for a way of splitting, by the pattern.
_NAMES = {
    rf"{_CUTS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}": "llama-bpe",
    rf"{_CUTS}|{_WORDS}|\p{{N}}|{_REST}": "qwen2",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+": "tekken",
}


def add_tokenizer(writer: Any, tokenizer: Any, size: int) -> None:
    """Write all that llama.cpp needs to turn messages into the same `size` tokens as here."""
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    model = document["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise ModelError(f"A tokenizer of the kind {_kind(model)} cannot be written as GGUF", hint=_HINT)
    tokens, types = _tokens(document, size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name_of_splitting(document))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    _add_special(writer, tokenizer)


def name_of_splitting(document: dict[str, Any]) -> str:
    """What llama.cpp calls the way in which this tokenizer.json splits a text."""
    whole = document.get("pre_tokenizer") or {}
    *before, last = whole.get("pretokenizers", [whole]) or [{}]
    normalizer = (document.get("normalizer") or {}).get("type")
    if last.get("type") == "ByteLevel" and not last.get("add_prefix_space") and normalizer in (None, "NFC"):
        by_words = last.get("use_regex", True)
        if not before and by_words:
            return "gpt-2"
        if len(before) == 1:
            first = before[0]
            if by_words and first.get("type") == "Digits" and first.get("individual_digits"):
                return "smollm"
            pattern = (first.get("pattern") or {}).get("Regex")
            alone = (first.get("behavior"), first.get("invert")) == ("Isolated", False)
            if not by_words and alone and pattern in _NAMES:
                return _NAMES[pattern]
    raise ModelError("llama.cpp has no name for the way in which this model's tokenizer splits a text", hint=_HINT)


def adds_begin(tokenizer: Any) -> bool:
    """Whether the tokenizer puts its first token before every text; llama.cpp then does it too."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id


def _tokens(document: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Every token's text and type. Models often have room for more than the tokenizer knows."""
    texts = [f"[PAD{number}]" for number in range(size)]
    types = [int(gguf.TokenType.UNUSED)] * size
    for text, number in document["model"]["vocab"].items():
        texts[number], types[number] = text, int(gguf.TokenType.NORMAL)
    for added in document.get("added_tokens", ()):
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        texts[added["id"]], types[added["id"]] = added["content"], int(kind)
    return texts, types


def _add_special(writer: Any, tokenizer: Any) -> None:
    for name in ("bos", "eos", "unk", "pad"):
        number = getattr(tokenizer, f"{name}_token_id")
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    written = ChatFormat(tokenizer)
    # llama.cpp ends a reply at this one too, where a template ends turns with another token than texts.
    end = written.tokens(written.around_a_reply[1].strip())[:1]
    if end and end[0] in tokenizer.all_special_ids and end[0] != tokenizer.eos_token_id:
        writer.add_eot_token_id(end[0])
    writer.add_add_bos_token(adds_begin(tokenizer))
    writer.add_chat_template(written.template)


def _kind(model: dict[str, Any]) -> str:
    return "SentencePiece" if model["type"] == "Unigram" or model.get("byte_fallback") else str(model["type"])
