"""The composition root: the only place that makes the parts and joins them. Making an App reads settings and
nothing else.

What costs time is made when it is first asked for: the store in milliseconds, the model (which imports torch) in
seconds.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from shammah import logs
from shammah.config import Config, Resolved, resolve
from shammah.durable import explained
from shammah.errors import ShammahError
from shammah.events import AdapterSwapped, Event, EventBus, Notice, Progress
from shammah.home import Home

if TYPE_CHECKING:
    from pathlib import Path

    from shammah.deployment.activation import Helm
    from shammah.deployment.live import Change, LiveAdapter, Voices
    from shammah.deployment.roster import Roster
    from shammah.feedback.desk import Desk
    from shammah.model.catalog import Source
    from shammah.model.chat_model import ChatModel
    from shammah.model.right_of_way import RightOfWay
    from shammah.model.speaking import Voice
    from shammah.records import Activation, Turn
    from shammah.session import Guidance, Session
    from shammah.store.activations import Activations
    from shammah.store.audit import Audit
    from shammah.store.comparisons import Comparisons
    from shammah.store.conversations import Conversations
    from shammah.store.database import Database
    from shammah.training.launch import Training

# Small models heed a rule best right before the question (measured with 135M parameters). Models of about this size
# and more are trained to heed their system prompt, where rules cost no cache.
_HEEDS_SYSTEM_PROMPT = 1_000_000_000

# What `adapter` may be beside a name: the base, or the adapter that was last taken into use.
BASE, IN_USE = "none", "active"

log = logging.getLogger(__name__)


class App:
    def __init__(self, home: Home, settings: Resolved, *, verbosity: int = 0) -> None:
        self.home = home
        self.settings = settings
        self.events = EventBus()
        self._loading = Lock()
        self._model: ChatModel | None = None
        # Whether the adapter in use is to answer, whichever that is by now.
        self.follows = self.config.adapter == IN_USE
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
        from shammah.feedback.desk import Desk, scorer_named
        from shammah.store.archive import Archive
        from shammah.store.examples import Examples
        from shammah.store.rules import Rules

        kept = self.config.examples
        archive = Archive(self.home.archive) if kept.archive else None
        examples = Examples(self.database, limit=kept.limit, keep_days=kept.keep_days, archive=archive)
        rules = Rules(self.database)
        scorer = scorer_named(self.config.scorer)
        return Desk(self.database, self.conversations, examples, rules, self.config, scorer=scorer)

    @cached_property
    def activations(self) -> "Activations":
        from shammah.store.activations import Activations

        return Activations(self.database)

    @cached_property
    def comparisons(self) -> "Comparisons":
        from shammah.store.comparisons import Comparisons

        return Comparisons(self.database)

    @cached_property
    def audit(self) -> "Audit":
        from shammah.store.audit import Audit

        return Audit(self.database)

    @cached_property
    def roster(self) -> "Roster":
        """All adapters of this home."""
        from shammah.deployment.roster import Roster

        return Roster(self.home, self.database, setting=self.config.adapter)

    @cached_property
    def helm(self) -> "Helm":
        """Where it is decided which of them answers."""
        from shammah.deployment.activation import Helm

        return Helm(self.roster, self.activations, self.audit, require_fit=self.voices.fitting(lambda: self._model))

    @property
    def base(self) -> str:
        """The model's name, as adapters are made for it."""
        from shammah.model.catalog import name_to_share

        return name_to_share(self.config.model)

    def answering(self) -> str | None:
        """The adapter that answers, or would; None for the base."""
        return self._speaking()[0]

    def _speaking(self) -> tuple[str | None, float]:
        """The same with its strength."""
        if self._model is not None:
            return self._model.voice.adapter, self._model.voice.strength
        if self.config.adapter != IN_USE:
            return self._adapter_asked_for(), 1.0
        current = self.activations.current(self.base) if self._has_store else None
        return (current.adapter, current.strength) if current else (None, 1.0)

    def rules(self) -> tuple[str, ...]:
        """What the model is given as standing rules, now."""
        return self._rules(self._speaking)

    def rules_for(self, adapter: str | None, strength: float = 1.0) -> tuple[str, ...]:
        """The same where this adapter answers: without the rules that it obeys untold."""
        return self._rules(lambda: (adapter, strength))

    def _rules(self, speaking: Callable[[], tuple[str | None, float]]) -> tuple[str, ...]:
        if not (self.config.rules.active and self._has_store):
            return ()
        try:
            return tuple(rule.text for rule in self.desk.rules.active(*speaking()))
        except ShammahError:
            if self.keeps_turns:
                raise
            log.info("no rules from a home that cannot be used", exc_info=True)
            return ()  # where nothing is stored no home is needed

    @property
    def _has_store(self) -> bool:
        """Where nothing is to be stored, what is there is read all the same, and nothing is made."""
        return self.keeps_turns or os.path.exists(self.home.database)

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
        """Fetch the model if need be and load it, once, with what answers. Takes seconds; the events tell of it."""
        with self._loading:
            if self._model is None:
                adapter, model = self._adapter_asked_for(), self._model_alone
                with self.right_of_way.taken():
                    if adapter is not None:
                        model.speak_as(self.voices.voice(model.loaded, adapter))
                    self._follow_with(model)
                self.events.subscribe(self._on_event)
                self._model = model
            return self._model

    def load_base(self) -> "ChatModel":
        """The same where nobody is to be answered: the adapter that the settings name need not be there."""
        with self._loading:
            return self._model_alone

    @cached_property
    def _model_alone(self) -> "ChatModel":
        source = self.source
        self.events.publish(Progress("Loading " + self.config.model))
        from shammah.model.fetching import ensure

        folder = ensure(source, self.model_cache, offline=self.config.offline, publish=self.events.publish)
        self.events.publish(Progress("Loading " + self.config.model))
        with self.right_of_way.taken():  # not while it is fetched, which may take hours
            return self._loaded(folder)

    def _loaded(self, folder: "Path") -> "ChatModel":
        from shammah.model.chat_model import ChatModel
        from shammah.model.device import choose
        from shammah.model.loading import load

        config = self.config
        compute = choose(config.device, config.dtype, config.threads, cache_folder=self.model_cache.root.parent)
        log.info("loading %s on %s in %s (%s)", folder, compute.device, compute.dtype, compute.why)
        loaded = load(folder, compute, context=config.context, thinking=config.thinking)
        model = ChatModel(config.model, loaded, right_of_way=self.right_of_way)
        if not model.has_template:
            self.events.publish(Notice(f"{config.model} has no chat template; a plain User/Assistant one is used."))
        return model

    def _adapter_asked_for(self) -> str | None:
        """The adapter that the settings name; a name that means nothing is met here."""
        if self.config.adapter in (BASE, IN_USE):
            return None
        if not self._has_store:  # nothing was ever stored, so there is none, and no home is made to find that out
            from shammah.adapters.shelf import Shelf

            return Shelf(self.home.adapters).find(self.config.adapter).name
        return self.roster.on_shelf(self.config.adapter, base=self.base).name

    @cached_property
    def voices(self) -> "Voices":
        from shammah.deployment.live import Voices

        return Voices(
            self.home.adapters,
            base=self.base,
            weights_cache=self.model_cache.root.parent,
            merged=self.config.adapters.merged,
        )

    @cached_property
    def _live(self) -> "LiveAdapter":
        from shammah.deployment.live import LiveAdapter

        return LiveAdapter(
            self.voices,
            self.activations,
            base=self.base,
            publish=self.events.publish,
            audit=self.audit if self.keeps_turns else None,
        )

    def follow(self, *, asked: bool = False) -> "Change | None":
        """Between two turns: have the adapter in use answer from the next reply on. What changed by that.

        A chat that began with an adapter of its own follows only from when it is `asked` to.
        """
        self.follows = self.follows or asked
        if self._model is None:
            return None
        with self.right_of_way.taken():
            return self._follow_with(self._model, again=asked)

    def _follow_with(self, model: "ChatModel", *, again: bool = False) -> "Change | None":
        if not (self.follows and self._has_store):
            return None
        try:
            live = self._live
        except ShammahError:
            if self.keeps_turns:
                raise
            log.info("no adapter from a home that cannot be used", exc_info=True)
            return None
        return live.follow(model, again=again)

    def _on_event(self, event: Event) -> None:
        """On the thread that trained: the chat need not wait for what is loaded here."""
        if isinstance(event, AdapterSwapped):
            self.follow()

    def voice(self, adapter: str | None, strength: float = 1.0) -> "Voice":
        """The base, or an adapter by any of its names, to reply once without being the one that answers."""
        model = self.load_model()
        if adapter is None:
            return model.base_voice()
        return self.voices.voice(model.loaded, self.roster.on_shelf(adapter, base=self.base).name, strength)

    def after_rating(self) -> "Activation | None":
        """Who answers from now on, where the adapter that did was rated worse than the one before."""
        if not (self.follows and self.keeps_turns):
            return None
        from shammah.deployment.probation import Probation

        settings = self.config.adapters
        probation = Probation(
            self.database, self.activations, self.helm, rated=settings.probation, fewest=settings.probation_ratings
        )
        return probation.after_rating(self.base)

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
        from shammah.store.titles import LATEST, Titles

        conversation = Titles(self.database).find(LATEST if resume is None else resume)
        return self.conversations.context(conversation.id)

    def session(
        self, model: "ChatModel", history: "Sequence[Turn]" = (), *, stored: bool = True, system: str = ""
    ) -> "Session":
        """One that is not `stored` only looks at what it is given. `system` goes before that of the settings."""
        from shammah.session import Memory, Session

        kept = stored and self.keeps_turns
        memory = Memory(self.conversations, self.desk, self.config.redact) if kept else None
        system = system or self.config.system or (history[-1].system if history else "")
        return Session(model, memory, system=system, history=history, guidance=self._guidance(model))

    def _guidance(self, model: "ChatModel") -> "Guidance":
        from shammah.session import Guidance

        place: Literal["question", "system"] = "system" if model.parameters >= _HEEDS_SYSTEM_PROMPT else "question"
        if self.config.rules.place != "auto":
            place = "system" if self.config.rules.place == "system" else "question"
        return Guidance(self.rules_for, place)

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
