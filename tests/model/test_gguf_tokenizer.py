"""A tokenizer written into a GGUF file: the same tokens come out, or it is refused."""

import json

import gguf
import pytest
from support.gguf_bases import TEMPLATE, a_tokenizer, save_base
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Metaspace, Sequence, Split
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

from shammah.errors import ModelError
from shammah.model.chat_format import PLAIN_TEMPLATE
from shammah.model.converting import convert_gguf
from shammah.model.gguf_model import write_gguf
from shammah.model.gguf_tokenizer import add_tokenizer, name_of_splitting

TEXTS = ("the cat sat in 2024\n\n12. dog", "Ünïcödé \U0001f600\u4f60", "<|im_start|>a<|im_end|>", "  a\n\n b ")
SMOLLM = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])


def ignore(event):
    pass


def written(tokenizer, tmp_path, size=None):
    """What a GGUF file says of the tokenizer."""
    writer = gguf.GGUFWriter(tmp_path / "words.gguf", "llama")
    add_tokenizer(writer, tokenizer, size or len(tokenizer))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fields = gguf.GGUFReader(tmp_path / "words.gguf").fields
    return {name.removeprefix("tokenizer."): field.contents() for name, field in fields.items() if "tokenizer" in name}


@pytest.mark.parametrize("pre", [None, SMOLLM], ids=["gpt-2", "smollm"])
def test_read_again_it_gives_the_same_tokens(pre, tmp_path):
    base = save_base("llama", tmp_path / "base", tokenizer=a_tokenizer(pre))
    write_gguf(base, None, tmp_path / "model.gguf", name="", publish=ignore)
    (tmp_path / "again").mkdir()
    convert_gguf(tmp_path / "model.gguf", tmp_path / "again", ignore)
    before, after = (AutoTokenizer.from_pretrained(tmp_path / name) for name in ("base", "again"))
    for text in TEXTS:
        assert after(text).input_ids == before(text).input_ids
    assert (after.bos_token_id, after.eos_token_id, after.pad_token_id) == (1, 2, 2)
    messages = [{"role": "user", "content": "hi"}]
    texts = [each.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) for each in (before, after)]
    assert texts[0] == texts[1] == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_each_token_is_of_its_type_and_spare_room_is_filled(tmp_path):
    tokenizer = a_tokenizer()
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    size = len(tokenizer)
    known = written(tokenizer, tmp_path, size + 3)
    tokens, types = known["ggml.tokens"], known["ggml.token_type"]
    assert len(tokens) == len(types) == size + 3
    of = dict(zip(tokens, types, strict=True))
    assert (of["<unk>"], of["<|im_end|>"], of["<|tool|>"], of["<think>"], of["the"]) == (3, 3, 3, 4, 1)
    assert tokens[-3:] == [f"[PAD{number}]" for number in range(size, size + 3)] and types[-3:] == [5, 5, 5]
    assert [tokenizer.convert_ids_to_tokens(number) for number in range(size)] == tokens[:size]


def test_what_is_special(tmp_path):
    known = written(a_tokenizer(), tmp_path)
    special = {name: known[f"ggml.{name}_token_id"] for name in ("bos", "eos", "unknown", "padding")}
    assert special == {"bos": 1, "eos": 2, "unknown": 0, "padding": 2}
    assert (known["ggml.model"], known["ggml.pre"], known["ggml.add_bos_token"]) == ("gpt2", "gpt-2", False)
    assert known["chat_template"] == TEMPLATE and "ggml.eot_token_id" not in known


def test_a_turn_that_ends_otherwise_than_a_text(tmp_path):
    tokenizer = a_tokenizer()
    tokenizer.eos_token = "<unk>"
    assert written(tokenizer, tmp_path)["ggml.eot_token_id"] == 2


def test_texts_that_begin_with_a_token(tmp_path):
    tokenizer = a_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    assert written(tokenizer, tmp_path)["ggml.add_bos_token"] is True


def test_a_model_without_a_template_gets_the_one_it_was_used_with(tmp_path):
    tokenizer = a_tokenizer()
    tokenizer.chat_template = None
    assert written(tokenizer, tmp_path)["chat_template"] == PLAIN_TEMPLATE


def splitting(tokenizer):
    return name_of_splitting(json.loads(tokenizer.to_str()))


class TestTheNameOfTheSplitting:
    def test_qwens(self):
        assert splitting(Qwen2Tokenizer(vocab={"a": 0}, merges=[]).backend_tokenizer) == "qwen2"

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            (
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+",
                "llama-bpe",
            ),
            (
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                "tekken",
            ),
        ],
    )
    def test_those_with_a_pattern(self, pattern, name):
        tokenizer = Tokenizer(models.BPE())
        split = Split(Regex(pattern), behavior="isolated")
        tokenizer.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
        assert splitting(tokenizer) == name

    @pytest.mark.parametrize(
        "pre",
        [
            None,
            Metaspace(),
            ByteLevel(add_prefix_space=True),
            ByteLevel(add_prefix_space=False, use_regex=False),
            Sequence([Digits(individual_digits=False), ByteLevel(add_prefix_space=False)]),
            Sequence([Split(Regex(r"\w+"), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]),
        ],
    )
    def test_others_are_refused(self, pre):
        tokenizer = Tokenizer(models.BPE())
        if pre is not None:
            tokenizer.pre_tokenizer = pre
        with pytest.raises(ModelError, match="llama.cpp has no name for the way") as caught:
            splitting(tokenizer)
        assert "--to gguf-lora" in caught.value.hint

    def test_a_text_that_is_changed_first_is_refused(self):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.normalizer = normalizers.Lowercase()
        with pytest.raises(ModelError, match="has no name"):
            splitting(tokenizer)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (models.BPE(vocab={"a": 0}, merges=[], byte_fallback=True), "SentencePiece"),
        (models.Unigram([("a", 0.0)], 0), "SentencePiece"),
        (models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"), "WordPiece"),
    ],
)
def test_tokenizers_of_another_kind_are_refused(model, kind, tmp_path):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
    with pytest.raises(ModelError, match=f"of the kind {kind} cannot be written"):
        written(tokenizer, tmp_path)
