"""The words of the program as values: what passes between its parts. No behaviour, no I/O, no clock."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
PieceKind = Literal["reply", "reasoning"]
StopReason = Literal["end", "length", "stop", "window", "loop", "cancelled"]
Level = Literal["good", "medium", "critical"]
State = Literal["ready", "needs target", "needs review", "disabled"]
# A run is finished when its adapter was found better, and rejected when it was not.
RunState = Literal["running", "finished", "rejected", "failed", "cancelled", "interrupted"]
# What began a run: enough new examples, the user, another try after a failure, the rest of a run that was cut off.
Trigger = Literal["threshold", "user", "retry", "resume"]
# A candidate was not judged yet, or not taken into use; the active one answers, a retired one did once.
AdapterState = Literal["candidate", "active", "retired", "rejected", "archived"]
# Who or what changed something on the shelf.
Actor = Literal["user", "training", "probation", "retention", "failure"]
# How an example came to be: a rating alone, a reply written by the user, a rewrite by the model that the user took,
# a second try rated good, a lesson told, a file, a script.
Source = Literal["rating", "fix", "rewrite", "retry", "teach", "import", "script"]


@dataclass(frozen=True, slots=True)
class Message:
    """One line of a conversation as the model is given it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of streamed text, complete in its characters."""

    kind: PieceKind
    text: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A reply that was stopped, as far as it had come."""

    text: str
    reasoning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a generation came to. `text` is the whole reply, with what it was begun with.

    `input_tokens` counts the whole prompt, `cached_tokens` the part that was not paid for.
    """

    text: str
    reasoning: str
    stop_reason: StopReason
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    first_token_ms: float
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange as the usage log keeps it: prompt, reply, who spoke, at what cost, and what was thought of it.

    What the model was given is this query after the turns that lead to it by `parent`, the first `dropped` of them left
    out, with the system prompt before them and the `rules` where the model heeds them best. A reply that was stopped
    is the beginning of that of the turn that `continues` it.
    """

    id: str
    conversation_id: str
    number: int
    time: str
    query: str
    response: str
    reasoning: str = ""
    model: str
    adapter: str | None = None
    expert: str | None = None
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    stop_reason: StopReason
    latency_ms: float
    first_token_ms: float
    input_tokens: int
    cached_tokens: int = 0
    output_tokens: int
    quality: float | None = None
    quality_parts: dict[str, float] = field(default_factory=dict)
    feedback: Level | None = None
    note: str | None = None
    parent: str | None = None
    dropped: int = 0
    retry_of: str | None = None
    continues: str | None = None
    rules: tuple[str, ...] = ()
    context_hash: str
    dedupe_hash: str

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed: the tokens after the first one over the time after it."""
        seconds = (self.latency_ms - self.first_token_ms) / 1000
        return (self.output_tokens - 1) / seconds if self.output_tokens > 1 and seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    id: str
    title: str
    model: str
    system: str
    created: str
    updated: str
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What training sees of one piece of feedback. The target is never a reply that was rated medium or critical.

    `messages` is the prompt without the rules, `rules` what the model was given with it. `hold` is the store's own
    word on examples of one and the same prompt: why this one has to stand back, empty where it need not.
    `secrets` names the kinds of text that were redacted and that the user has not looked at yet.
    """

    id: str
    time: str
    turn_id: str | None = None
    source: Source
    level: Level
    weight: float
    messages: tuple[Message, ...]
    rules: tuple[str, ...] = ()
    target: str | None = None
    rejected: str | None = None
    note: str | None = None
    state: State
    reason: str = ""
    secrets: tuple[str, ...] = ()
    hold: str = ""
    quality: float | None = None
    model: str = ""
    adapter: str | None = None
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    trained: int = 0

    @property
    def prompt(self) -> str:
        """What the user asked last."""
        return self.messages[-1].content

    @property
    def trainable(self) -> bool:
        """Whether training would draw it: with its target, or with a rewrite made then by its note, at half weight."""
        if self.hold or self.secrets:
            return False
        return self.state == "ready" or (self.state == "needs review" and bool(self.note and self.rejected))

    @property
    def status(self) -> str:
        """One word or two for a list."""
        if self.hold:
            return "disabled"
        if self.trained and self.state == "ready":
            return f"trained by {self.trained}"
        return self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """What waits for training: trainable examples that no adapter was trained on, and those that need the user.

    `new` counts those of them that the last run was not begun with, as they are now: the next run waits for such.
    """

    examples: int
    weighted: float
    new: int
    new_weighted: float
    needs_target: int
    needs_review: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A standing instruction or fact that the model is given from the next message on, unless it is muted."""

    id: str
    time: str
    text: str
    muted: bool = False
    turn_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt to learn: what it learned from, how far it came, what became of it.

    `example_ids` are those it was begun with, once it is finished those that it learned: what is rated while it runs
    waits for the next one. `weighted` is what those weigh that no adapter had learned before. `settings` is the recipe
    as it was used. `pid` is the process that runs it. `error` says why it failed or was rejected, and why it waits
    while it runs. `kills` counts how often its program was killed since the run last saved where it stands, `lost` how
    often examples that it was begun with were deleted or taken back.
    """

    id: str
    started: str
    updated: str
    ended: str | None = None
    state: RunState = "running"
    trigger: Trigger
    attempt: int = 1
    model: str
    adapter: str | None = None
    example_ids: tuple[str, ...] = ()
    weighted: float = 0.0
    step: int = 0
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    first_loss: float | None = None
    last_loss: float | None = None
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    pid: int = 0
    kills: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterNote:
    """What is known of an adapter beside its folder, by the folder's name. `label` is a name that the user gave it.

    `verdict` is None until one was given, else what `Verdict.as_json` gives.
    """

    name: str
    time: str
    label: str | None = None
    pinned: bool = False
    tags: tuple[str, ...] = ()
    verdict: dict[str, Any] | None = None
    imported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """From when on an adapter answers for a base model; None where the base itself does. The newest one counts."""

    sequence: int
    time: str
    base: str
    adapter: str | None
    strength: float = 1.0
    actor: Actor
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that happened to an adapter, chained to the one before it. It holds no text of the user's."""

    sequence: int
    time: str
    actor: Actor
    action: str
    subject: str
    details: dict[str, Any] = field(default_factory=dict)
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """When asked this, a reply must hold one of these texts: what an adapter has to know, whatever it learns next.

    One that an example was kept as has the example's id, and holds the reply that it teaches.
    """

    id: str
    time: str
    prompt: str
    contains: tuple[str, ...]
    source: Literal["user", "example"] = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a run came to, with the user's own prompts before and after, as `judging.receipt` puts it in `body`."""

    run_id: str
    time: str
    adapter: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Which of two voices the user picked without knowing whose it was; None is the base, `picked` None neither."""

    time: str
    base: str
    first: str | None
    second: str | None
    picked: Literal["first", "second"] | None
