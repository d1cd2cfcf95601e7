"""What is decided of a run before its first step: what is learned, by which replies, and from where on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shammah.adapters.bundle import read_bundle, verify
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import Shelf
from shammah.errors import AdapterDamaged, AdapterMisfit, TrainingError
from shammah.events import Notice, TrainingMoved
from shammah.feedback.rewriting import Rewriter
from shammah.model.catalog import name_to_share
from shammah.records import Example
from shammah.store.activations import Activations
from shammah.training.anchor_book import AnchorBook
from shammah.training.asking import Asked
from shammah.training.attempt import Attempt, Base
from shammah.training.courtesy import Courtesy
from shammah.training.fitting import first_limits
from shammah.training.learner import bytes_of_a_token
from shammah.training.memory import free_memory_of
from shammah.training.planning import Lesson
from shammah.training.recipe import Recipe
from shammah.training.targets import lessons, rewrite_by
from shammah.training.workshop import Publish, Workshop


@dataclass(frozen=True, slots=True)
class Prepared:
    """An attempt before its first step, and what it is to learn. `without` are the ids of examples for which there is
    no reply to learn, `inherited` those of what the adapter that it goes on from knows."""

    attempt: Attempt
    taught: tuple[Lesson, ...]
    without: tuple[str, ...]
    inherited: frozenset[str] = frozenset()


class Preparing:
    """For the run of this id. It tells how far it is: the base may take minutes for its replies."""

    def __init__(self, shop: Workshop, shelf: Shelf, run_id: str, publish: Publish) -> None:
        self._shop, self._shelf, self._run_id, self._publish = shop, shelf, run_id, publish

    def attempt(
        self,
        examples: Sequence[Example],
        base: Base,
        recipe: Recipe,
        courtesy: Courtesy,
        leave_out: Callable[[Sequence[str]], None] = lambda without: None,
    ) -> Prepared:
        """`leave_out` is told the ids of examples without a reply to learn as soon as they are known: to find them took
        long, whatever comes after."""
        shop, network = self._shop, base.loaded.network
        limits = first_limits(
            free_memory_of(network.device),
            token_bytes=bytes_of_a_token(network),
            model_bytes=network.get_memory_footprint(),
            rows=shop.config.lora.training.max_rows,
        )

        def begun(parent: Manifest | None) -> Attempt:
            folder = self._shelf.root / parent.name if parent else None
            clock = courtesy.working_time
            return Attempt(base, recipe, limits, courtesy, go_on_from=folder, clock=clock, asked=self._asked)

        parent = self._parent(base, recipe)
        try:
            attempt = begun(parent)
        except (AdapterDamaged, AdapterMisfit) as error:  # one of another shape
            self._publish(Notice(f"{error.message}. {_AT_THE_BASE}"))
            attempt, parent = begun(None), None
        with attempt.learner.as_base():
            taught, without = self.lessons(examples, base.name, attempt.speaker)
        known = shop.runs.as_learned(parent.name, parent.example_ids) if parent else ()
        leave_out(without)
        book = AnchorBook(shop.cache_folder / "anchors", attempt.voice, attempt.ask)
        try:
            attempt.prepare(taught, book, known=known)
        except TrainingError as error:
            too_long = attempt.plan.too_long
            if len(too_long) < len(taught):
                raise
            hint = "/review shows what lacks a better reply." if without else _SET_LONGER
            raise TrainingError(f"There is nothing to train on: {_counts(without, too_long)}", hint=hint) from error
        inherited = frozenset(parent.known_ids if parent else ())
        return Prepared(attempt, tuple(taught), tuple(without), inherited)

    def lessons(self, examples: Sequence[Example], model: str, speaker: Rewriter) -> tuple[list[Lesson], list[str]]:
        """What the examples teach, and the ids of those for which the model, which the speaker is, has no reply."""
        hopeless = self._shop.runs.without_rewrite(model)
        rewrite, asked = rewrite_by(speaker, self._shop.config.generation), self._asked
        wanting = [example.id for example in examples if example.state != "ready" and example.id not in hopeless]

        def told(example: Example) -> str | None:
            if example.id in hopeless:
                return None
            found = rewrite(example)
            asked(wanting.index(example.id) + 1, len(wanting))
            return found

        return lessons(examples, told, unreviewed=self._shop.config.weights.unreviewed)

    @property
    def _asked(self) -> Asked:
        return lambda done, of: self._publish(
            TrainingMoved(run_id=self._run_id, phase="preparing", step=done, steps=of)
        )

    def _parent(self, base: Base, recipe: Recipe) -> Manifest | None:
        """With the strategy `continue`: the adapter in use, if there is one that fits this base and its template."""
        if recipe.strategy != "continue":
            return None
        current = Activations(self._shop.database).current(name_to_share(base.name))
        if current is None or current.adapter is None:
            return None
        folder = self._shelf.root / current.adapter
        try:
            manifest = read_bundle(folder)
            verify(folder, manifest)
        except AdapterDamaged as error:
            self._publish(Notice(f"{error.message}. {_AT_THE_BASE}"))
            return None
        return manifest if (manifest.base_hash, manifest.template_hash) == base.hashes else None


_AT_THE_BASE = "It begins at the base."
_SET_LONGER = "Set lora.training.max_length higher."


def counted(ids: Sequence[str]) -> str:
    return f"{len(ids)} example{'s' * (len(ids) != 1)}"


def _counts(without: Sequence[str], too_long: Sequence[str]) -> str:
    parts = (without, "without a better reply"), (too_long, "too long for lora.training.max_length")
    return ", ".join(f"{counted(ids)} {why}" for ids, why in parts if ids) or "no example is left"
