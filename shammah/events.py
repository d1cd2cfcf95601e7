"""What background work tells the rest of the program. Publishers never know who listens.

Handlers run on the publisher's thread, so they must be short and safe there: set a value, fill a queue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from shammah.records import Receipt, Run


@dataclass(frozen=True, slots=True)
class Progress:
    """A long step moved on. `total` is 0 while it is not known; `unit` is "B" for bytes, "" for none."""

    label: str
    done: int = 0
    total: int = 0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should read once."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMoved:
    """A training run came further. `phase` is preparing, training, saving, judging or recording, which is too late to
    cancel; `losses` are those of all steps so far.

    `steps` is 0 while it cannot be told how many there are. `seconds_left` is None while it cannot be told, `waiting`
    says why nothing moves just now ("" while it does).
    """

    run_id: str
    phase: str
    step: int = 0
    steps: int = 0
    epoch: int = 0
    epochs: int = 0
    losses: tuple[float, ...] = ()
    tokens_per_second: float = 0.0
    seconds_left: float | None = None
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class TrainingEnded:
    """A training run is over, one way or the other; what became of it is in the record."""

    run: Run


@dataclass(frozen=True, slots=True)
class AdapterSwapped:
    """Another adapter is to answer from the next reply on, or None: the base itself. `cause` says why."""

    adapter: str | None
    previous: str | None
    cause: str


@dataclass(frozen=True, slots=True)
class ReceiptReady:
    """A run was judged: what it learned from, what changed by that, and what was decided."""

    receipt: Receipt


Event = Progress | Notice | TrainingMoved | TrainingEnded | AdapterSwapped | ReceiptReady
Handler = Callable[[Event], None]


class EventBus:
    def __init__(self) -> None:
        self._handlers: list[Handler] = []
        self._lock = Lock()

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Start listening; call the result to stop."""
        with self._lock:
            self._handlers.append(handler)

        def unsubscribe() -> None:
            with self._lock:
                if handler in self._handlers:
                    self._handlers.remove(handler)

        return unsubscribe

    def publish(self, event: Event) -> None:
        with self._lock:
            handlers = list(self._handlers)
        for handler in handlers:
            handler(event)
