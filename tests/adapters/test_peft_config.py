import math
import re

import pytest
from peft import LoraConfig

from shammah.adapters.peft_config import plain, read_config, weakened, why_not


def config(**changes):
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj"],
    } | changes


def test_what_peft_writes_for_plain_lora():
    values = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM").to_dict()
    assert why_not(values) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": r".*\.self_attn\.(q|v)_proj$"},
        {"target_modules": "all-linear"},
        {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
        {"rank_pattern": {"k_proj": 4, "^model.layers.0.self_attn.v_proj": 2}, "alpha_pattern": {"k_proj": 2.5}},
        {"use_rslora": True},
        {"fan_in_fan_out": True},
        {"init_lora_weights": False},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": None, "task_type": None, "bias": None},
        {"modules_to_save": [], "use_dora": False, "layer_replication": None, "a_key_of_later": None},
        {"peft_version": "0.99", "revision": "main", "base_model_name_or_path": "some/model"},
    ],
)
def test_what_counts_here_as_it_did_there(changes):
    assert why_not(config(**changes)) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"peft_type": "IA3"}, "not LoRA but 'IA3'"),
        ({"peft_type": None}, "not LoRA"),
        ({"task_type": "SEQ_CLS"}, "made for 'SEQ_CLS'"),
        ({"bias": "all"}, "biases"),
        ({"bias": "lora_only"}, "biases"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"use_dora": True}, "use_dora"),
        ({"use_dora": True, "layer_replication": [[0, 2]]}, r"\(layer_replication, use_dora\)"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"target_parameters": ["experts"]}, "target_parameters"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"a_key_of_later": {"x": 1}}, "a_key_of_later"),
        *(({"init_lora_weights": way}, f"init_lora_weights = '{way}'") for way in ("pissa", "olora", "corda", "loftq")),
        ({"init_lora_weights": {"a": 1}}, "init_lora_weights"),
        *(({"r": wrong}, "its r can't be") for wrong in (0, -1, 1.5, True, "8", None, 10**9)),
        *(({"lora_alpha": wrong}, "its lora_alpha can't be") for wrong in (math.nan, math.inf, "16", None, False)),
        ({"rank_pattern": {"(a+)+$": 4}}, "may mean any layer"),
        ({"alpha_pattern": {".*": 4}}, "may mean any layer"),
        ({"rank_pattern": ["q_proj"]}, "its rank_pattern can't be read"),
        ({"rank_pattern": {"q_proj": 0}}, "its rank_pattern can't be read"),
        ({"alpha_pattern": {"q_proj": math.nan}}, "its alpha_pattern can't be read"),
    ],
)  # fmt: skip
def test_what_is_more_than_plain_lora_is_named(changes, why):
    assert re.search(why, why_not(config(**changes)))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"1", b"\xff", b"[" * 100_000])
def test_what_is_no_object_of_json(data):
    assert read_config(data) is None


def test_in_our_own_words_it_is_the_same_adapter():
    there = config(r=4, lora_alpha=2.0, rank_pattern={"k_proj": 2}, use_rslora=True, target_modules="all-linear")
    here = plain(there, modules={"q_proj", "k_proj"}, base="some/model")
    assert why_not(here) == ""
    kept = ("r", "lora_alpha", "rank_pattern", "use_rslora")
    assert {name: here[name] for name in kept} == {name: there[name] for name in kept}
    assert (here["target_modules"], here["base_model_name_or_path"]) == (["k_proj", "q_proj"], "some/model")
    assert LoraConfig(**here).to_dict()["use_dora"] is False


def test_of_a_weakened_one_every_layer_counts_so_much_less():
    whole = config(alpha_pattern={"k_proj": 4})
    half = weakened(whole, 0.5)
    assert why_not(half) == "" and half == whole | {"lora_alpha": 8, "alpha_pattern": {"k_proj": 2}}
    assert weakened({"peft_type": "LORA"}, 0.5)["lora_alpha"] == 4, "peft's own, where it says nothing"
