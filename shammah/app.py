"""The composition root: the only place that makes the parts and joins them. Making an App reads settings and
nothing else.

What costs time is made when it is first asked for: the store in milliseconds, the model (which imports torch) in
seconds.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from threading import Event as Flag
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal

from shammah import logs
from shammah.config import Config, Resolved, resolve
from shammah.durable import explained
from shammah.errors import AdapterMisfit, ConfigError, ShammahError, StoreError
from shammah.events import EventBus, Notice, Progress
from shammah.home import Home

if TYPE_CHECKING:
    from pathlib import Path

    from shammah.feedback.desk import Desk, Scorer
    from shammah.model.catalog import Source
    from shammah.model.chat_model import ChatModel
    from shammah.model.loading import LoadedModel
    from shammah.model.right_of_way import RightOfWay
    from shammah.records import Turn
    from shammah.session import Guidance, Session
    from shammah.store.conversations import Conversations
    from shammah.store.database import Database
    from shammah.training.launch import Training

# Small models heed a rule best right before the question (measured with 135M parameters). Models of about this size
# and more are trained to heed their system prompt, where rules cost no cache.
_HEEDS_SYSTEM_PROMPT = 1_000_000_000

log = logging.getLogger(__name__)


class App:
    def __init__(self, home: Home, settings: Resolved, *, verbosity: int = 0) -> None:
        self.home = home
        self.settings = settings
        self.events = EventBus()
        self._loading = Lock()
        self._model: ChatModel | None = None
        self._prepare(verbosity)

    @classmethod
    def build(
        cls,
        *,
        flags: Mapping[str, Any] | None = None,
        assignments: tuple[str, ...] = (),
        verbosity: int = 0,
    ) -> "App":
        home = Home.find()
        return cls(home, resolve(home.config_file, flags=flags, assignments=assignments), verbosity=verbosity)

    @property
    def config(self) -> Config:
        return self.settings.config

    @property
    def keeps_turns(self) -> bool:
        return not self.config.no_log

    def _prepare(self, verbosity: int) -> None:
        """Make the home, unless nothing is to be stored and so a home is not needed."""
        if self.keeps_turns:
            self.home.prepare()
        file = self.home.log_file if os.access(self.home.logs, os.W_OK) else None
        logs.set_up(file, verbosity=verbosity, clean=_without_secrets if self.config.redact else None)

    @cached_property
    def database(self) -> "Database":
        from shammah.store.database import Database

        with explained(self.home.root):
            self.home.prepare()
            return Database(self.home.database)

    @cached_property
    def conversations(self) -> "Conversations":
        from shammah.store.conversations import Conversations

        return Conversations(self.database)

    @cached_property
    def desk(self) -> "Desk":
        """Where ratings go, with the examples and the rules."""
        from shammah.feedback.desk import Desk
        from shammah.store.archive import Archive
        from shammah.store.examples import Examples
        from shammah.store.rules import Rules

        kept = self.config.examples
        archive = Archive(self.home.archive) if kept.archive else None
        examples = Examples(self.database, limit=kept.limit, keep_days=kept.keep_days, archive=archive)
        rules = Rules(self.database)
        return Desk(self.database, self.conversations, examples, rules, self.config, scorer=_scorer(self.config.scorer))

    def rules(self) -> tuple[str, ...]:
        """What the model is given as standing rules, now."""
        if not self.config.rules.active or not (self.keeps_turns or os.path.exists(self.home.database)):
            return ()
        try:
            return tuple(rule.text for rule in self.desk.rules.active())
        except ShammahError:
            if self.keeps_turns:
                raise
            log.info("no rules from a home that cannot be used", exc_info=True)
            return ()  # where nothing is stored no home is needed

    def require_store(self) -> None:
        """Meet a database that can't be written now, before somebody types or a model is loaded for nothing."""
        if self.keeps_turns:
            self.conversations.require_writable()

    @cached_property
    def source(self) -> "Source":
        """What the configured model's name means; a name that means nothing is met here, before anything is loaded."""
        from shammah.model.catalog import locate

        return locate(self.config.model)

    @cached_property
    def right_of_way(self) -> "RightOfWay":
        """Held by whoever answers or loads; training gives way to it, in other processes of this home too."""
        from shammah.model.right_of_way import RightOfWay
        from shammah.training.standing import right_of_way_folder

        adapters = self.home.adapters  # where there are none, nobody trains, and no home is made for it
        return RightOfWay(right_of_way_folder(adapters) if adapters.is_dir() else None)

    def load_model(self) -> "ChatModel":
        """Fetch the model if need be and load it, once. Takes seconds; progress and notices go to the events."""
        with self._loading:
            if self._model is None:
                self._model = self._load_model()
            return self._model

    def _load_model(self) -> "ChatModel":
        source = self.source
        adapter = self._adapter_folder()
        self.events.publish(Progress("Loading " + self.config.model))
        from shammah.model.fetching import ensure

        folder = ensure(source, self.model_cache, offline=self.config.offline, publish=self.events.publish)
        self.events.publish(Progress("Loading " + self.config.model))
        with self.right_of_way.taken():  # not while it is fetched, which may take hours
            return self._loaded(folder, adapter)

    def _loaded(self, folder: "Path", adapter: "Path | None") -> "ChatModel":
        from shammah.model.adapted import adapted
        from shammah.model.chat_model import ChatModel
        from shammah.model.device import choose
        from shammah.model.loading import load

        config = self.config
        compute = choose(config.device, config.dtype, config.threads, cache_folder=self.model_cache.root.parent)
        log.info("loading %s on %s in %s (%s)", folder, compute.device, compute.dtype, compute.why)
        loaded = load(folder, compute, context=config.context, thinking=config.thinking)
        if adapter is not None:
            self._require_base(adapter, loaded)
        model = ChatModel(
            config.model,
            loaded,
            adapter=adapter.name if adapter else None,
            speaking=adapted(loaded.network, adapter) if adapter else None,
            right_of_way=self.right_of_way,
        )
        if not model.has_template:
            self.events.publish(Notice(f"{config.model} has no chat template; a plain User/Assistant one is used."))
        return model

    def _adapter_folder(self) -> "Path | None":
        """Where the adapter lies that is to answer, its files checked; a name that means nothing is met here."""
        if self.config.adapter == "none":
            return None
        from shammah.adapters.bundle import verify
        from shammah.adapters.shelf import Shelf

        shelf = Shelf(self.home.adapters)
        manifest = shelf.find(self.config.adapter)
        verify(shelf.root / manifest.name, manifest)
        return shelf.root / manifest.name

    def _require_base(self, adapter: "Path", loaded: "LoadedModel") -> None:
        """AdapterMisfit unless the adapter was made for this model, computed in this way, and this template."""
        from shammah.adapters.bundle import read_bundle
        from shammah.model.catalog import name_to_share
        from shammah.model.fingerprint import base_hash, differences, template_hash

        manifest, model = read_bundle(adapter), name_to_share(self.config.model)
        hashes = base_hash(loaded, self.model_cache.root.parent), template_hash(loaded.format.template)
        differs = differences((manifest.base_hash, manifest.template_hash), hashes)
        if not differs:
            return
        if manifest.base != model:
            raise AdapterMisfit(
                f"The adapter {adapter.name} was made for {manifest.base}, not for {model}",
                hint=f"Use -m {manifest.base}, another adapter, or --adapter none.",
            )
        raise AdapterMisfit(
            f"The adapter {adapter.name} was made for {model} with {' and '.join(differs)}",
            hint="Put that back, use another adapter or --adapter none, or learn anew: `shammah train --now`.",
        )

    @cached_property
    def training(self) -> "Training":
        """The thread that trains, with all it works with."""
        from shammah.training.launch import Training

        return Training(self)

    @property
    def model_cache(self) -> Any:
        from shammah.model.cache import ModelCache

        return ModelCache.default(self.config.models_dir)

    def history(self, *, latest: bool = False, resume: str | None = None) -> "Sequence[Turn]":
        """The turns of the conversation to go on with; none for a new one."""
        if resume is None and not latest:
            return ()
        store = self.conversations
        conversation = store.latest() if resume is None else store.conversation(resume)
        if conversation is None:
            raise StoreError("There is no conversation to continue", hint="Start one: `shammah`.")
        return store.context(conversation.id)

    def session(self, model: "ChatModel", history: "Sequence[Turn]" = ()) -> "Session":
        from shammah.session import Memory, Session

        memory = Memory(self.conversations, self.desk, self.config.redact) if self.keeps_turns else None
        system = self.config.system or (history[-1].system if history else "")
        return Session(model, memory, system=system, history=history, guidance=self._guidance(model))

    def _guidance(self, model: "ChatModel") -> "Guidance":
        from shammah.session import Guidance

        place: Literal["question", "system"] = "system" if model.parameters >= _HEEDS_SYSTEM_PROMPT else "question"
        if self.config.rules.place != "auto":
            place = "system" if self.config.rules.place == "system" else "question"
        return Guidance(self.rules, place)

    def stop_training(self) -> None:
        """It still writes where it stands, for the next start."""
        if "training" in self.__dict__:
            self.training.close()

    def close(self) -> None:
        self.stop_training()
        if "database" in self.__dict__:
            self.database.close()


def _without_secrets(text: str) -> str:
    """Imported when something is logged: most runs log nothing."""
    from shammah.feedback.secrets import redact

    return redact(text).text


def _scorer(name: str) -> "Scorer | None":
    """The function that a setting names; none where none is named."""
    if not name:
        return None
    module, _, function = name.partition(":")
    try:
        found: Scorer = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"scorer = {name!r}: {error}", hint="Give module:function, importable from here.") from None
    return found


class BackgroundLoad:
    """The model being loaded while the prompt is open. The thread can't be interrupted, only left behind."""

    def __init__(self, app: App, on_end: Callable[[BaseException | None], None]) -> None:
        self._app = app
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
            self._model = self._app.load_model()
        except BaseException as error:  # handed to whoever asks for the model
            self.error = error
        finally:
            self._done.set()
            self._on_end(self.error)
