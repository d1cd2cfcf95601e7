"""Every setting, declared once.

The TOML file, SHAMMAH_* variables, flags, `config get` and the README's table follow from here.
"""

from dataclasses import dataclass, field

from shammah.config.knobs import at_least, between, knob, none_empty, not_empty, one_of, recipe_or, zero_or


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """How the next token is chosen and when to stop. Also what `-o KEY VALUE` takes."""

    temperature: float = knob(0.5, "randomness; 0 always takes the likeliest token", check=between(0, 10))
    top_p: float = knob(0.9, "sample among the likeliest tokens that sum to this", check=between(0.01, 1))
    top_k: int = knob(40, "sample among this many of the likeliest tokens; 0 for all", check=at_least(0))
    repetition_penalty: float = knob(1.0, "above 1 makes tokens already seen less likely", check=between(0.1, 10))
    max_tokens: int = knob(1024, "the longest reply, in tokens", check=at_least(1))
    seed: int = knob(-1, "the same seed gives the same reply; -1 draws a new one", check=between(-1, 2**63 - 1))
    stop_loops: bool = knob(True, "end a reply that only repeats itself, word for word, over some 130 tokens")
    stop: tuple[str, ...] = knob((), "texts that end the reply; they are not part of it", check=none_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSettings:
    """How much a rating counts."""

    critical: float = knob(10.0, "weight of an example rated critical", check=between(0.01, 1000))
    medium: float = knob(3.0, "weight of an example rated medium", check=between(0.01, 1000))
    good: float = knob(1.0, "weight of an example rated good", check=between(0.01, 1000))
    unreviewed: float = knob(0.5, "share of the weight if nobody saw the target", check=between(0, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSettings:
    """How many examples are kept, and for how long."""

    threshold: int = knob(10, "train when so many new examples wait", check=at_least(1))
    limit: int = knob(10_000, "most examples kept; the oldest that were trained leave first", check=at_least(1))
    keep_days: int = knob(0, "days that a trained example is kept; 0 for ever", check=at_least(0))
    archive: bool = knob(True, "write examples that leave to archive/ in the home")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """Notes that the model is given as standing rules."""

    active: bool = knob(True, "give the model the rules")
    place: str = knob(
        "auto",
        "where: before the question, in the system prompt, or auto (by the model's size)",
        check=one_of("auto", "question", "system"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """Files that are put before a message in a chat."""

    max_bytes: int = knob(100_000, "largest file that /read and @file take, in bytes", check=at_least(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How an adapter is trained. -1 leaves a number to the recipe of the preset and the model's size."""

    auto: bool = knob(True, "train by itself when examples.threshold new examples wait")
    strategy: str = knob(
        "rebuild",
        "rebuild: from the base on all examples; continue: go on from the one in use",
        check=one_of("rebuild", "continue"),
    )
    learning_rate: float = knob(-1.0, "the highest learning rate", check=recipe_or(1e-7, 1))
    steps: int = knob(-1, "steps of the optimizer; 0 for as many as the examples need", check=between(-1, 1_000_000))
    epochs: float = knob(-1.0, "times that every example is drawn, where steps is 0", check=recipe_or(0, 10_000))
    meetings: float = knob(-1.0, "where both are 0: draws of a lone example; of n examples, that times the root of n",
                           check=recipe_or(1, 10_000))  # fmt: skip
    batch_size: int = knob(-1, "rows in one step, anchors included", check=recipe_or(1, 1024))
    max_rows: int = knob(-1, "most rows computed at once; -1 for what fits the memory", check=recipe_or(1, 1024))
    max_length: int = knob(-1, "longest row in tokens; longer ones are left out", check=recipe_or(16, 1_000_000))
    warmup: float = knob(-1.0, "share of the steps in which the learning rate rises", check=recipe_or(0, 0.9))
    clip: float = knob(-1.0, "longest gradient; 0 for any", check=recipe_or(0, 1000))
    weight_decay: float = knob(-1.0, "decay of the adapter's numbers", check=recipe_or(0, 1))
    cap: float = knob(-1.0, "most draws of an example for one of the lightest", check=recipe_or(1, 1000))
    weight_power: float = knob(-1.0, "how much the rest of a weight counts in the loss", check=recipe_or(0, 1))
    exact: float = knob(-1.0, "share of draws with the prompt as it was", check=recipe_or(0, 1))
    word_dropout: float = knob(-1.0, "share of words that the other prompts lose", check=recipe_or(0, 0.9))
    key_words: float = knob(-1.0, "share of the other prompts cut to their key words", check=recipe_or(0, 1))
    own_variants: float = knob(-1.0, "share of the other prompts that the model re-phrased by itself",
                               check=recipe_or(0, 1))  # fmt: skip
    anchors: float = knob(-1.0, "share of rows that hold the model to the base", check=recipe_or(0, 0.9))
    near_misses: float = knob(-1.0, "share of those that are like the examples' prompts", check=recipe_or(0, 1))
    kl_weight: float = knob(-1.0, "how strongly they hold it", check=recipe_or(0, 1000))
    preference: str = knob(
        "none", "weigh wanted against rejected replies by odds ratio or DPO", check=one_of("none", "odds", "dpo")
    )
    preference_weight: float = knob(-1.0, "what that counts", check=recipe_or(0, 1000))
    ewc: float = knob(-1.0, "with continue: how strongly earlier lessons are held", check=recipe_or(0, 1e9))
    patience: int = knob(-1, "checks of the held-out loss without progress before the end; 0 for no end",
                         check=recipe_or(0, 1000))  # fmt: skip
    run_seed: int = knob(-1, "the same seed trains the same adapter", check=recipe_or(0, 2**31))
    checkpointing: str = knob(
        "auto", "keep fewer layers in memory, at the price of time: on, off, or where it would not fit",
        check=one_of("auto", "on", "off"),
    )  # fmt: skip
    retries: int = knob(3, "tries after a run that failed, each gentler", check=between(0, 10))
    max_minutes: float = knob(60.0, "longest try; 0 for no limit", check=zero_or(1, 100_000), at_start=True)
    run_threads: int = knob(0, "CPU threads for training; 0 for those of the chat, on many cores one fewer",
                            check=between(0, 1024))  # fmt: skip
    battery: int = knob(30, "wait while on battery below so many percent; 0 never waits", check=between(0, 100))
    save_seconds: float = knob(
        20.0, "how often a run is saved so that it can be gone on with", check=between(0, 86_400)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """The adapter's shape, and how it is trained."""

    preset: str = knob("default", "default, light (half the cost), or seed (as first published)",
                       check=one_of("default", "light", "seed"))  # fmt: skip
    r: int = knob(-1, "rank of the adapter", check=recipe_or(1, 1024))
    alpha: float = knob(-1.0, "its scale is alpha / r", check=recipe_or(0.01, 100_000))
    dropout: float = knob(-1.0, "share of its input that is dropped while training", check=recipe_or(0, 0.9))
    targets: str = knob("", "the layers it is put on: all, or names such as q_proj,v_proj")
    training: TrainingSettings = field(default_factory=TrainingSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSettings:
    """When a trained adapter takes over, when it goes back again, and which of them are kept."""

    auto_swap: bool = knob(True, "let an adapter that was found better answer at once")
    min_improvement: float = knob(
        0.02, "share by which it must find the wanted replies likelier than the one in use", check=between(0, 1)
    )
    regression: float = knob(0.05, "most that it may lose on general text and on probes", check=between(0, 1))
    drift: float = knob(0.10, "most that it may differ from the base on general prompts", check=between(0, 10))
    drift_refused: float = knob(0.30, "from here on gentler training is not tried any more", check=between(0, 10))
    margins_up: float = knob(
        0.8, "share of the pairs in which it must prefer the wanted to the rejected reply more than before",
        check=between(0, 1),
    )  # fmt: skip
    earlier_worse: float = knob(0.1, "most of the earlier examples that may fare worse", check=between(0, 1))
    keep_last: int = knob(5, "so many of the newest adapters are kept", check=at_least(1))
    keep_best: int = knob(3, "so many of those that improved most are kept too", check=at_least(0))
    max_days: int = knob(0, "adapters older than so many days leave too; 0 for any age", check=at_least(0))
    put_away: bool = knob(True, "adapters that leave go to archive/adapters/ in the home instead of being deleted")
    merged: bool = knob(
        False,
        "add the adapter to weights of its own: faster replies, for the memory of a second model",
        at_start=True,
    )
    probation: int = knob(20, "a new adapter is on probation for so many rated replies; 0 for none",
                          check=at_least(0))  # fmt: skip
    probation_ratings: int = knob(3, "fewest ratings under it before it can be taken back", check=at_least(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class UiSettings:
    """What the terminal shows, and how."""

    theme: str = knob("auto", "auto (by the terminal's background, where it tells), dark, light, or plain: no colours",
                      check=one_of("auto", "dark", "light", "plain"))  # fmt: skip
    plain: bool = knob(False, "no colours, nothing that moves, for a screen reader", flags=("--plain",), at_start=True)
    reasoning: str = knob("show", "what a model thinks before it replies: show, fold (how long it was), or hide",
                          check=one_of("show", "fold", "hide"))  # fmt: skip
    stats: bool = knob(False, "a line after each reply: tokens, seconds, tokens a second, adapter")
    keys: str = knob("emacs", "how the line is edited: emacs (as in most shells) or vi", check=one_of("emacs", "vi"))
    suggestions: bool = knob(True, "show in grey how a line that you begin went on the last time")
    complete: str = knob("tab", "what opens the menu of completions: tab, or typing as well",
                         check=one_of("tab", "typing"))  # fmt: skip
    history: int = knob(
        10_000, "so many of the lines that you typed are kept for Up and Ctrl+R", check=at_least(1), at_start=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    model: str = knob(
        "smollm2-135m",
        "a name of `shammah models list`, a Hugging Face id, a folder, or a .gguf file",
        check=not_empty,
        flags=("-m", "--model"),
        metavar="NAME|DIR",
        at_start=True,
    )
    adapter: str = knob(
        "active",
        "the adapter that answers: active (the one in use), a name, a version, latest, or none",
        check=not_empty,
        flags=("--adapter",),
        metavar="NAME|none",
        at_start=True,
    )
    system: str = knob("", "the system prompt; empty for the model's own", flags=("-s", "--system"), metavar="TEXT")
    device: str = knob(
        "auto",
        "where to compute: auto, cuda, mps or cpu",
        check=one_of("auto", "cuda", "mps", "cpu"),
        flags=("--device",),
        metavar="NAME",
        at_start=True,
    )
    dtype: str = knob(
        "auto",
        "number format: auto (the one measured fastest here), bfloat16, float16 or float32",
        check=one_of("auto", "bfloat16", "float16", "float32"),
        flags=("--dtype",),
        metavar="NAME",
        at_start=True,
    )
    threads: int = knob(
        0, "CPU threads for the model; 0 for one per physical core", check=between(0, 1024), at_start=True
    )
    context: int = knob(0, "context window in tokens; 0 for the model's own", check=at_least(0), at_start=True)
    thinking: bool = knob(True, "let models that can reason do so before they reply", at_start=True)
    batch_rows: int = knob(16, "most prompts in one forward pass of --batch", check=between(1, 1024), at_start=True)
    offline: bool = knob(False, "make no network request at all", flags=("--offline",))
    no_log: bool = knob(False, "do not store conversations", flags=("-n", "--no-log"), at_start=True)
    no_history: bool = knob(False, "do not keep the lines you type for the next start", at_start=True)
    models_dir: str = knob("", "where fetched models are kept; empty for the user cache", at_start=True)
    redact: bool = knob(True, "replace secrets, e-mail and card numbers before anything is stored", at_start=True)
    scorer: str = knob("", "a function (query, response) -> 0..1 that joins in the quality score, as module:function")
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    examples: ExampleSettings = field(default_factory=ExampleSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    files: FileSettings = field(default_factory=FileSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    adapters: AdapterSettings = field(default_factory=AdapterSettings)
    ui: UiSettings = field(default_factory=UiSettings)
