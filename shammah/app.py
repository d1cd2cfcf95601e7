"""The composition root: the only place that makes the parts and joins them. Making an App reads settings and
nothing else.

What costs time is made when it is first asked for: the store in milliseconds, the model (which imports torch) in
seconds.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from shammah import logs
from shammah.config import Config, Resolved, resolve
from shammah.durable import explained
from shammah.errors import ShammahError
from shammah.events import AdapterSwapped, Event, EventBus, Progress
from shammah.home import Home

if TYPE_CHECKING:
    from shammah.deployment.activation import Helm
    from shammah.deployment.live import Change, LiveAdapter, Voices
    from shammah.deployment.probation import Probation
    from shammah.deployment.roster import Roster
    from shammah.feedback.desk import Desk
    from shammah.model.catalog import Source
    from shammah.model.chat_model import ChatModel
    from shammah.model.right_of_way import RightOfWay
    from shammah.model.speaking import Voice
    from shammah.records import Activation, Turn
    from shammah.session import Session
    from shammah.store.activations import Activations
    from shammah.store.audit import Audit
    from shammah.store.comparisons import Comparisons
    from shammah.store.conversations import Conversations
    from shammah.store.database import Database
    from shammah.training.launch import Training

# What `adapter` may be beside a name: the base, or the adapter that was last taken into use.
BASE, IN_USE = "none", "active"
# What is made for one model, and made anew for another.
_OF_A_MODEL = ("source", "voices", "_live", "helm", "roster")

log = logging.getLogger(__name__)


class App:
    def __init__(self, home: Home, settings: Resolved, *, verbosity: int = 0) -> None:
        self.home = home
        self.settings = settings
        self.events = EventBus()
        self._loading = Lock()
        self._model: ChatModel | None = None
        self._model_alone: ChatModel | None = None  # before it is known what answers
        # Whether the adapter in use is to answer, whichever that is by now.
        self.follows = self.config.adapter == IN_USE
        self.events.subscribe(self._on_event)
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

    def change(self, settings: Resolved) -> None:
        """Go on with other settings. What holds those of before is made anew when it is next asked for."""
        self.settings = settings
        self.__dict__.pop("desk", None)

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
        return self.speaking()[0]

    def speaking(self) -> tuple[str | None, float]:
        """The same with its strength."""
        if self._model is not None:
            return self._model.voice.adapter, self._model.voice.strength
        if self.config.adapter != IN_USE:
            return self._adapter_asked_for(), 1.0
        current = self.activations.current(self.base) if self._has_store else None
        return (current.adapter, current.strength) if current else (None, 1.0)

    def rules(self) -> tuple[str, ...]:
        """What the model is given as standing rules, now."""
        return self._rules(self.speaking)

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
                adapter, model = self._adapter_asked_for(), self._opened()
                with self.right_of_way.taken():
                    if adapter is not None:
                        model.speak_as(self.voices.voice(model.loaded, adapter))
                    self._follow_with(model)
                self._model = model
            return self._model

    def with_model(self, name: str) -> "App":
        """The same program with another model, to be loaded beside this one's and then taken over."""
        _ = self.right_of_way, self._has_store and self.database  # which both have
        other = copy(self)
        other._loading, other._model, other._model_alone = Lock(), None, None
        for made in _OF_A_MODEL:
            other.__dict__.pop(made, None)
        adapter = BASE if self.config.adapter == BASE else IN_USE  # one that they name was made for this model
        other.settings = self.settings.changed({"model": name, "adapter": adapter}, "/model")
        other.follows = adapter == IN_USE
        return other

    def take_over(self, other: "App") -> None:
        """Have the model of the other answer from now on. A run under way goes on with the model that it began with."""
        with self._loading:
            asked = {"model": other.config.model, "adapter": other.config.adapter}
            self.change(self.settings.changed(asked, "/model"))
            for made in _OF_A_MODEL:  # only now, or another thread makes it anew for the model before
                self.__dict__.pop(made, None)
            self._model, self._model_alone, self.follows = other._model, other._model_alone, other.follows

    def load_base(self) -> "ChatModel":
        """The same where nobody is to be answered: the adapter that the settings name need not be there."""
        with self._loading:
            return self._opened()

    def _opened(self) -> "ChatModel":
        # Not a cached property: in Python 3.11 those share a lock, and one model would wait for another's download.
        if self._model_alone is None:
            from shammah.model.beside_typing import opener

            source = self.source  # a name that means nothing is not said to be loaded
            self.events.publish(Progress("Loading " + self.config.model))
            self._model_alone = opener()(
                self.config, source, self.model_cache, right_of_way=self.right_of_way, publish=self.events.publish
            )
        return self._model_alone

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
        with self._loading, self.right_of_way.taken():  # the model and what is made for it stay together
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
        return self.probation.after_rating(self.base) if self.follows and self.keeps_turns else None

    @property
    def probation(self) -> "Probation":
        from shammah.deployment.probation import Probation

        lasts, fewest = self.config.adapters.probation, self.config.adapters.probation_ratings
        return Probation(self.database, self.activations, self.helm, rated=lasts, fewest=fewest)

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
        self, model: "ChatModel", history: "Sequence[Turn]" = (), *, stored: bool = True, system: str | None = None
    ) -> "Session":
        """One that is not `stored` only looks at what it is given. `system` goes before that of the settings."""
        from shammah.session import Guidance, Memory, Session, place_of_rules

        kept = stored and self.keeps_turns
        memory = Memory(self.conversations, self.desk, self.config.redact) if kept else None
        if system is None:
            system = self.config.system or (history[-1].system if history else "")
        guidance = Guidance(self.rules_for, place_of_rules(self.config.rules.place, model.parameters))
        return Session(model, memory, system=system, history=history, guidance=guidance)

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
