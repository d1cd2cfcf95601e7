import dataclasses

import pytest

from shammah.config import Config, GenerationSettings, knobs_of
from shammah.errors import ConfigError

KNOBS = knobs_of(Config)


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS)
def test_every_setting_is_declared_whole(knob):
    assert knob.help == knob.help.strip() and knob.help and not knob.help.endswith(".")
    assert knob.validated(knob.default) == knob.default
    assert not knob.flags or knob.kind is bool or knob.metavar, "a flag that takes a value says which"
    assert all(flag.startswith("-") for flag in knob.flags)


def test_no_name_stands_for_two_settings():
    for names in (
        [knob.variable for knob in KNOBS.values()],
        [knob.path[-1] for knob in KNOBS.values()],
        [flag for knob in KNOBS.values() for flag in knob.flags],
    ):
        assert len(names) == len(set(names))
    assert "SHAMMAH_HOME" not in {knob.variable for knob in KNOBS.values()}


@pytest.mark.parametrize("settings", [Config(), GenerationSettings()])
def test_settings_cannot_be_changed(settings):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, dataclasses.fields(settings)[0].name, 1)
    with pytest.raises(TypeError):
        type(settings)(1)


def test_a_config_made_of_nothing_holds_the_defaults():
    config = Config()
    for knob in KNOBS.values():
        value = config
        for name in knob.path:
            value = getattr(value, name)
        assert value == knob.default


def test_all_that_the_outside_contract_names_is_there():
    options = {"temperature", "top_p", "top_k", "max_tokens", "seed", "repetition_penalty"}
    assert options <= set(knobs_of(GenerationSettings))
    flags = {"-m", "--model", "-s", "--system", "-n", "--no-log", "--offline"}
    assert flags <= {flag for knob in KNOBS.values() for flag in knob.flags}
    assert {"SHAMMAH_MODEL", "SHAMMAH_NO_HISTORY"} <= {knob.variable for knob in KNOBS.values()}


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("model", ["x", "org/name", "./folder"], ["", " "]),
        ("device", ["auto", "cuda", "mps", "cpu"], ["", "gpu", "CPU"]),
        ("dtype", ["auto", "bfloat16", "float16", "float32"], ["bf16", ""]),
        ("threads", [0, 1, 1024], [-1, 1025]),
        ("context", [0, 1, 10**6], [-1]),
        ("batch_rows", [1, 1024], [0, 1025]),
        ("generation.temperature", [0, 0.2, 10], [-0.1, 10.1, float("nan"), float("inf")]),
        ("generation.top_p", [0.01, 1], [0, 1.01]),
        ("generation.top_k", [0, 50], [-1]),
        ("generation.repetition_penalty", [0.1, 1, 10], [0, 11]),
        ("generation.max_tokens", [1, 10**6], [0, -1]),
        ("generation.seed", [-1, 0, 2**63 - 1], [-2, 2**63]),
        ("generation.stop", [[], ["###"]], [[""], ["###", ""]]),
        ("weights.critical", [0.01, 1000], [0, 1001]),
        ("weights.medium", [0.01, 1000], [0, 1001]),
        ("weights.good", [0.01, 1000], [0, 1001]),
        ("weights.unreviewed", [0, 1], [-0.1, 1.1]),
        ("examples.threshold", [1, 1000], [0]),
        ("examples.limit", [1, 10**6], [0]),
        ("examples.keep_days", [0, 365], [-1]),
        ("rules.place", ["auto", "question", "system"], ["", "before"]),
        ("adapter", ["active", "none", "latest", "lora_adapter_2026"], ["", " "]),
        ("adapters.min_improvement", [0, 0.02, 1], [-0.1, 1.1, float("nan")]),
        ("adapters.regression", [0, 1], [-0.1, 1.1]),
        ("adapters.drift", [0, 10], [-0.1, 11]),
        ("adapters.drift_refused", [0, 10], [-0.1, 11]),
        ("adapters.margins_up", [0, 1], [-0.1, 1.1]),
        ("adapters.earlier_worse", [0, 1], [-0.1, 1.1]),
        ("adapters.keep_last", [1, 1000], [0]),
        ("adapters.keep_best", [0, 1000], [-1]),
        ("adapters.max_days", [0, 365], [-1]),
        ("adapters.probation", [0, 1000], [-1]),
        ("adapters.probation_ratings", [1, 1000], [0]),
        ("ui.keys", ["emacs", "vi"], ["nano", ""]),
        ("ui.complete", ["tab", "typing"], ["always", ""]),
        ("ui.history", [1, 1_000_000], [0, -1]),
        ("lora.preset", ["default", "light", "seed"], ["", "best"]),
        ("lora.r", [-1, 1, 1024], [0, 1025]),
        ("lora.alpha", [-1, 0.01, 100_000], [0, 100_001]),
        ("lora.dropout", [-1, 0, 0.9], [-0.5, 1]),
        ("lora.training.strategy", ["rebuild", "continue"], ["", "both"]),
        ("lora.training.learning_rate", [-1, 1e-7, 1], [0, 2, float("nan")]),
        ("lora.training.steps", [-1, 0, 1_000_000], [-2, 1_000_001]),
        ("lora.training.epochs", [-1, 0, 10_000], [-2, 10_001]),
        ("lora.training.meetings", [-1, 1, 10_000], [0, 10_001]),
        ("lora.training.own_variants", [-1, 0, 1], [-0.1, 1.1]),
        ("lora.training.batch_size", [-1, 1, 1024], [0, 1025]),
        ("lora.training.max_rows", [-1, 1, 1024], [0, 1025]),
        ("lora.training.max_length", [-1, 16, 1_000_000], [0, 15]),
        ("lora.training.warmup", [-1, 0, 0.9], [-0.1, 1]),
        ("lora.training.clip", [-1, 0, 1000], [-0.1, 1001]),
        ("lora.training.weight_decay", [-1, 0, 1], [-0.1, 1.1]),
        ("lora.training.cap", [-1, 1, 1000], [0.5, 1001]),
        ("lora.training.weight_power", [-1, 0, 1], [-0.1, 1.1]),
        ("lora.training.exact", [-1, 0, 1], [-0.1, 1.1]),
        ("lora.training.word_dropout", [-1, 0, 0.9], [-0.1, 1]),
        ("lora.training.key_words", [-1, 0, 1], [-0.1, 1.1]),
        ("lora.training.anchors", [-1, 0, 0.9], [-0.1, 1]),
        ("lora.training.near_misses", [-1, 0, 1], [-0.1, 1.1]),
        ("lora.training.kl_weight", [-1, 0, 1000], [-0.1, 1001]),
        ("lora.training.preference", ["none", "odds", "dpo"], ["", "ppo"]),
        ("files.max_bytes", [1, 10**9], [0]),
        ("lora.training.preference_weight", [-1, 0, 1000], [-0.1, 1001]),
        ("lora.training.ewc", [-1, 0, 1e9], [-0.1, 1e10]),
        ("lora.training.patience", [-1, 0, 1000], [-2, 1001]),
        ("lora.training.run_seed", [-1, 0, 2**31], [-2, 2**31 + 1]),
        ("lora.training.checkpointing", ["auto", "on", "off"], ["", "yes"]),
        ("lora.training.retries", [0, 10], [-1, 11]),
        ("lora.training.max_minutes", [0, 1, 100_000], [0.5, -1]),
        ("lora.training.run_threads", [0, 1, 1024], [-1, 1025]),
        ("lora.training.battery", [0, 100], [-1, 101]),
        ("lora.training.save_seconds", [0, 86_400], [-1, 86_401]),
        ("ui.theme", ["auto", "dark", "light", "plain"], ["", "none", "Dark"]),
        ("ui.reasoning", ["show", "fold", "hide"], ["", "on"]),
    ],
)
def test_the_range_of_each(key, good, bad):
    for value in good:
        KNOBS[key].validated(value)
    for value in bad:
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
            KNOBS[key].validated(value)


def test_every_setting_that_can_be_wrong_in_range_is_tried_above():
    tried = {row[0] for mark in test_the_range_of_each.pytestmark for row in mark.args[1]}
    assert tried == {key for key, knob in KNOBS.items() if knob.check}
