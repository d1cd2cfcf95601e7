"""Every setting, declared once.

The TOML file, SHAMMAH_* variables, flags, `config get` and the README's table follow from here.
"""

from dataclasses import dataclass, field

from shammah.config.knobs import at_least, between, knob, none_empty, not_empty, one_of


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
class Config:
    model: str = knob(
        "smollm2-135m",
        "a name of `shammah models list`, a Hugging Face id, a folder, or a .gguf file",
        check=not_empty,
        flags=("-m", "--model"),
        metavar="NAME|DIR",
    )
    system: str = knob("", "the system prompt; empty for the model's own", flags=("-s", "--system"), metavar="TEXT")
    device: str = knob(
        "auto",
        "where to compute: auto, cuda, mps or cpu",
        check=one_of("auto", "cuda", "mps", "cpu"),
        flags=("--device",),
        metavar="NAME",
    )
    dtype: str = knob(
        "auto",
        "number format: auto (the one measured fastest here), bfloat16, float16 or float32",
        check=one_of("auto", "bfloat16", "float16", "float32"),
        flags=("--dtype",),
        metavar="NAME",
    )
    threads: int = knob(0, "CPU threads for the model; 0 for one per physical core", check=between(0, 1024))
    context: int = knob(0, "context window in tokens; 0 for the model's own", check=at_least(0))
    thinking: bool = knob(True, "let models that can reason do so before they reply")
    batch_rows: int = knob(16, "most prompts in one forward pass of --batch", check=between(1, 1024))
    offline: bool = knob(False, "make no network request at all", flags=("--offline",))
    no_log: bool = knob(False, "do not store conversations", flags=("-n", "--no-log"))
    no_history: bool = knob(False, "do not keep the lines you type for the next start")
    models_dir: str = knob("", "where fetched models are kept; empty for the user cache")
    redact: bool = knob(True, "replace secrets, e-mail and card numbers before anything is stored")
    scorer: str = knob("", "a function (query, response) -> 0..1 that joins in the quality score, as module:function")
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    examples: ExampleSettings = field(default_factory=ExampleSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
