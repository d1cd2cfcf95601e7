"""What background work tells the rest of the program. Publishers never know who listens.

Handlers run on the publisher's thread, so they must be short and safe there: set a value, fill a queue.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock


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


Event = Progress | Notice
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
