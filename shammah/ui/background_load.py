"""The model being loaded while the prompt is open."""

import gc
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

from shammah.app import App

if TYPE_CHECKING:
    from shammah.model.chat_model import ChatModel


class BackgroundLoad:
    """The thread can't be interrupted, only left behind."""

    def __init__(self, app: App, on_end: Callable[[BaseException | None], None]) -> None:
        self.app = app
        self._on_end = on_end
        self._thread = Thread(target=self._run, name="load-model", daemon=True)
        self._done = Flag()
        self._model: ChatModel | None = None
        self.error: BaseException | None = None

    def start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def ready(self, timeout: float | None = None) -> bool:
        return self._done.wait(timeout)

    def model(self) -> "ChatModel":
        """The model once it is ready; raises what went wrong."""
        self._done.wait()
        if self.error is not None:
            raise self.error
        assert self._model is not None
        return self._model

    def _run(self) -> None:
        try:
            self._model = self.app.load_model()
            # What stays until the end is not looked through for garbage again and again: that takes a quarter of a
            # second in which nothing else moves, whenever a swap or a run has made enough objects.
            gc.freeze()
        except BaseException as error:  # handed to whoever asks for the model
            self.error = error
        finally:
            self._done.set()
            self._on_end(self.error)
