"""The adapter in use, as the chat that runs follows it: loaded beside, verified, switched to between two replies.

Who answers is the newest activation of the base in the store, whoever wrote it: this chat, its training, another
process. Where the adapter can't be used, for whatever reason, the voice that answers goes on; that is said once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from shammah.adapters.bundle import read_bundle, verify
from shammah.adapters.manifest import Manifest
from shammah.errors import AdapterError, AdapterMisfit, DiskFull, ShammahError, StoreError
from shammah.events import Event, Notice
from shammah.records import Activation, Actor
from shammah.store.activations import Activations
from shammah.store.audit import Audit

if TYPE_CHECKING:
    from shammah.model.chat_model import ChatModel
    from shammah.model.loading import LoadedModel
    from shammah.model.speaking import Voice

log = logging.getLogger(__name__)

# What reading and computing may raise beside the program's own errors. None of it may end a chat.
FAILURES = (ShammahError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, MemoryError)
_OTHERS = "Load another with `/adapters load`, or go back with `/adapters rollback`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who answers from the next reply on, and who did before; None is the base."""

    adapter: str | None
    previous: str | None
    strength: float
    actor: Actor
    cause: str


class Voices:
    """Adapters of the shelf, made ready to speak."""

    def __init__(self, shelf: Path, *, base: str, weights_cache: Path, merged: bool = False) -> None:
        """`base` is the name of the model; with `merged` an adapter is added to weights of its own."""
        self._shelf, self._base = shelf, base
        self._weights_cache, self._merged = weights_cache, merged

    def voice(self, loaded: "LoadedModel", adapter: str, strength: float = 1.0) -> "Voice":
        """The adapter of this name on this model. AdapterError where it is damaged, gone, or made for another one."""
        from shammah.model.adapted import adapted
        from shammah.model.speaking import Voice

        folder = self._shelf / adapter
        if not folder.is_dir():
            raise AdapterError(f"The adapter {adapter} is not on the shelf any more", hint=_OTHERS)
        manifest = read_bundle(folder)
        self._require_base(manifest, loaded)
        verify(folder, manifest)
        network = adapted(loaded.network, folder, strength=strength, merged=self._merged)
        return Voice(network, loaded.speech, adapter, strength)

    def fitting(self, model: Callable[[], "ChatModel | None"]) -> Callable[[Manifest], None]:
        """Raises AdapterMisfit for an adapter that the model can't use; nothing while that is not loaded."""

        def require_fit(manifest: Manifest) -> None:
            now = model()
            if now is not None:
                self._require_base(manifest, now.loaded)

        return require_fit

    def _require_base(self, manifest: Manifest, loaded: "LoadedModel") -> None:
        """AdapterMisfit unless the adapter was made for this model, computed in this way, and this template."""
        from shammah.model.fingerprint import base_hash, differences, template_hash

        hashes = base_hash(loaded, self._weights_cache), template_hash(loaded.format.template)
        differs = differences((manifest.base_hash, manifest.template_hash), hashes)
        if not differs:
            return
        if manifest.base != self._base:
            raise AdapterMisfit(
                f"The adapter {manifest.name} was made for {manifest.base}, not for {self._base}",
                hint=f"Use -m {manifest.base}, another adapter, or --adapter none.",
            )
        raise AdapterMisfit(
            f"The adapter {manifest.name} was made for {self._base} with {' and '.join(differs)}",
            hint="Put that back, use another adapter or --adapter none, or learn anew: `shammah train --now`.",
        )


class LiveAdapter:
    def __init__(
        self,
        voices: Voices,
        activations: Activations,
        *,
        base: str,
        publish: Callable[[Event], None],
        audit: Audit | None = None,
    ) -> None:
        """`audit` is None where nothing is to be stored."""
        self._voices, self._activations, self._base = voices, activations, base
        self._publish, self._audit = publish, audit
        # Training's thread follows too, at the moment when it has found something better.
        self._lock = Lock()
        self._newest = -1
        self._seen: int | None = None

    def follow(self, model: "ChatModel", *, again: bool = False) -> Change | None:
        """Have the adapter in use answer from the next reply on. What changed by that; None where nothing did.

        Cheap where nothing did: one row is read. A reply under way keeps its voice. One that failed is not tried anew
        until something else was taken into use, or it is asked for `again`.
        """
        with self._lock:
            try:
                newest = self._activations.newest_sequence()
                if newest == self._newest and not again:
                    return None
                wanted = self._activations.current(self._base)
            except (StoreError, DiskFull):
                log.warning("who should answer can't be read", exc_info=True)
                return None
            change = None
            if wanted is not None and (again or wanted.sequence != self._seen):
                change = self._take_up(model, wanted, asked=again)
            # Only now: where Ctrl+C came in between, it is tried again.
            self._newest, self._seen = newest, wanted.sequence if wanted else None
            return change

    def _take_up(self, model: "ChatModel", wanted: Activation, *, asked: bool) -> Change | None:
        before = model.voice
        if (before.adapter, before.strength) == (wanted.adapter, wanted.strength):
            return None
        try:
            if wanted.adapter is None:
                voice = model.base_voice()
            else:
                voice = self._voices.voice(model.loaded, wanted.adapter, wanted.strength)
        except FAILURES as error:
            self._say_that_it_failed(wanted.adapter or self._base, error, before.adapter)
            if asked:
                self._put_back(wanted)
            return None
        model.speak_as(voice)
        log.info("%s answers at strength %g: %s", wanted.adapter, wanted.strength, wanted.cause)
        return Change(
            adapter=wanted.adapter,
            previous=before.adapter,
            strength=wanted.strength,
            actor=wanted.actor,
            cause=wanted.cause,
        )

    def _put_back(self, failed: Activation) -> None:
        """What somebody wanted here and can't have here is not left to other chats either: who answered before does."""
        try:
            self._activations.take_back(failed, actor="failure", cause="it can't answer")
        except (StoreError, DiskFull):
            log.warning("%s stays in use, although it can't be used", failed.adapter, exc_info=True)

    def _say_that_it_failed(self, adapter: str, error: BaseException, answers: str | None) -> None:
        log.warning("%s can't answer", adapter, exc_info=error)
        if not isinstance(error, ShammahError):
            error = AdapterError(f"The adapter {adapter} can't be used: {error}", hint=_OTHERS)
        self._publish(Notice(f"{error.one_line()} {answers or 'The model itself'} goes on answering."))
        if self._audit is None:
            return
        details = {"base": self._base, "reason": error.message, "answers": answers}
        try:
            last = self._audit.entries(1)
            # A program that is started again and again meets the same each time.
            if not last or (last[0].action, last[0].subject, last[0].details) != ("failed", adapter, details):
                self._audit.add("failure", "failed", adapter, details)
        except (StoreError, DiskFull):
            log.warning("that it failed is not written down", exc_info=True)
