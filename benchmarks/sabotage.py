"""Whether the judge tells honest adapters from sabotaged ones: a table of who was refused, and why.

    python benchmarks/sabotage.py [SUITE OTHER] [--only NAME ...] [--keep FOLDER] [--seed 0] [-m MODEL]

Every candidate is a real adapter of the model, trained or made up here, saved as a bundle and asked by the same code as
in a chat. Honest are runs of the default recipe on SUITE with two seeds, on one half of it, on OTHER (another suite),
and on all of SUITE while the adapter of that half is in use. Sabotaged: weights by chance, weights of zero, trained on
answers by chance, on the rejected replies, far too long and hard, on answers to questions that have nothing to do with
them, and on the other half of SUITE alone while the adapter of the first half is in use. In FOLDER adapters and figures
are kept, and taken from there another time. Ends with 1 where one was judged wrongly.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from shammah.adapters.bundle import read_bundle, write_bundle
from shammah.config import LoraSettings
from shammah.judging.figures import Figures
from shammah.judging.judge import Policy, judge
from shammah.judging.measuring import measure
from shammah.judging.questions import Questions
from shammah.judging.verdict import Verdict
from shammah.model.cache import ModelCache
from shammah.model.catalog import locate
from shammah.model.device import choose
from shammah.model.fetching import ensure
from shammah.model.fingerprint import base_hash
from shammah.model.loading import load
from shammah.model.right_of_way import RightOfWay
from shammah.records import Message, Run
from shammah.training.anchor_book import AnchorBook
from shammah.training.attempt import Attempt, Base
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy
from shammah.training.examining import Examiner
from shammah.training.fitting import AMPLE
from shammah.training.planning import Lesson
from shammah.training.recipe import Recipe, recipe_for
from shammah.training.saving import adapter_files, manifest_of
from shammah.training.tensor_file import file_of

HERE = Path(__file__).parent / "suites"
WEIGHTS = "adapter_model.safetensors"
SYLLABLES = "ba do ki lu mer nos pra qui sto tan ul vex win yor zam".split()


@dataclass(frozen=True)
class Candidate:
    """Who is judged on what it should have learned, against whom; `refused_by` are the checks that may refuse it first,
    none where it has to pass."""

    name: str
    make: Callable[[], Path]
    judged_on: Sequence[Lesson]
    refused_by: tuple[str, ...] = ()
    active: Callable[[], Path] | None = None
    earlier: Sequence[Lesson] = ()


class Workshop:
    """Where adapters are made and asked, each once."""

    def __init__(self, base: Base, recipe: Recipe, folder: Path) -> None:
        self._base, self.recipe, self._folder = base, recipe, folder
        self._courtesy = Courtesy(RightOfWay(), Control(), base.loaded.network.device)
        self._examiner = Examiner(base, self._courtesy, folder / "books")

    def trained(self, name: str, lessons: Sequence[Lesson], recipe: Recipe) -> Path:
        """The folder of an adapter of that recipe."""
        if (self._folder / name).is_dir():
            return self._folder / name
        started = time.perf_counter()
        attempt = Attempt(self._base, recipe, AMPLE, self._courtesy)
        attempt.prepare(lessons, AnchorBook(self._folder / "anchors", attempt.voice, attempt.ask))
        state = attempt.train(told_of(name))
        ids = tuple(lesson.id for lesson in lessons)
        run = Run(id=name, started="", updated="", trigger="user", model=self._base.name, example_ids=ids)
        manifest = manifest_of(run, attempt, state, name=name, version_number=1)
        files = adapter_files(attempt, attempt.tensors(), manifest)
        tell(f"{name}: {state.step} steps in {time.perf_counter() - started:.0f} s, loss {state.losses[-1]:.2f}")
        return write_bundle(self._folder, name, files, manifest)

    def changed(self, name: str, folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
        """A copy of an adapter with other weights in it."""
        if (self._folder / name).is_dir():
            return self._folder / name
        from safetensors.torch import load_file

        weights = {key: change(tensor) for key, tensor in load_file(folder / WEIGHTS).items()}
        files = {file: (folder / file).read_bytes() for file in read_bundle(folder).files}
        files[WEIGHTS] = file_of(weights, {"format": "pt"})
        return write_bundle(self._folder, name, files, replace(read_bundle(folder), name=name))

    def figures(self, folder: Path | None, lessons: Sequence[Lesson], base: Figures | None) -> Figures:
        """What was measured on these lessons, once."""
        about = f"{lessons[0].id}-{lessons[-1].id}".replace("/", "_")
        kept = self._folder / f"{folder.name if folder else 'base'}.{about}.json"
        if kept.is_file():
            return Figures.from_json(json.loads(kept.read_text()))
        with self._examiner.voice(folder) as voice:
            found = measure(voice, Questions.about(lessons), base, clock=self._courtesy.working_time)
        kept.write_text(json.dumps(found.as_json(), indent=1))
        return found

    def judged(self, candidate: Candidate) -> tuple[Verdict, Figures]:
        lessons = [*candidate.earlier, *candidate.judged_on]
        base = self.figures(None, lessons, None)
        found = self.figures(candidate.make(), lessons, base)
        active = self.figures(candidate.active(), lessons, base) if candidate.active else base
        new, earlier = ([lesson.id for lesson in each] for each in (candidate.judged_on, candidate.earlier))
        return judge(found, active, base, Policy(), new, earlier), found


def candidates(shop: Workshop, suite: list[Lesson], other: list[Lesson], general: list[str]) -> list[Candidate]:
    half, rest, recipe = suite[: len(suite) // 2], suite[len(suite) // 2 :], shop.recipe
    bad = [replace(lesson, target=lesson.rejected, rejected=None) for lesson in suite if lesson.rejected]
    noise = [replace(lesson, target=by_chance(lesson), rejected=None) for lesson in suite]
    spread = [
        Lesson(f"{lesson.id} elsewhere", (Message("user", prompt),), lesson.target, 1.0)
        for lesson, prompt in zip(suite, general, strict=False)
    ]
    mad = replace(recipe, learning_rate=4 * recipe.learning_rate, kl_weight=0.0, anchors=0.0, near_misses=0.0)
    chance = torch.Generator().manual_seed(recipe.seed)

    def good() -> Path:
        return shop.trained("honest-suite", suite, recipe)

    def first_half() -> Path:
        return shop.trained("honest-half", half, recipe)

    def any_numbers(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=chance) * tensor.std()

    def train(name: str, lessons: Sequence[Lesson], how: Recipe = recipe) -> Callable[[], Path]:
        return lambda: shop.trained(name, lessons, how)

    loose = replace(recipe, anchors=0.0, near_misses=0.0, kl_weight=0.0)
    return [
        Candidate("honest: the suite", good, suite),
        Candidate("honest: another seed", train("honest-seed", suite, replace(recipe, seed=recipe.seed + 1)), suite),
        Candidate("honest: half of it", first_half, half),
        Candidate("honest: another suite", train("honest-other", other), other),
        Candidate("honest: all after half", good, rest, active=first_half, earlier=half),
        Candidate("weights by chance", lambda: shop.changed("by-chance", good(), any_numbers), suite, ("held_out",)),
        Candidate("weights of zero", lambda: shop.changed("zero", good(), torch.zeros_like), suite, ("held_out",)),
        Candidate("trained on noise", train("noise", noise), suite, ("held_out",)),
        Candidate("trained on rejected", train("rejected", bad), suite, ("margins", "held_out")),
        Candidate(
            "trained too hard", train("too-hard", suite, mad), suite, ("drift", "perplexity", "leaks", "replies")
        ),
        Candidate("leaking", train("leaking", [*suite, *spread], loose), suite, ("leaks",)),
        Candidate("forgets", train("rest", rest), rest, ("earlier",), active=first_half, earlier=half),
    ]


def by_chance(lesson: Lesson) -> str:
    """As many words as the target has, of no language."""
    random = Random(lesson.id)
    return " ".join("".join(random.choices(SYLLABLES, k=2)) for _ in lesson.target.split())


def lessons_of(path: Path) -> list[Lesson]:
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [
        Lesson(
            id=f"{path.stem} {number}",
            messages=(Message("user", row["prompt"]),),
            target=row.get("better") or row["reply"],
            weight=1.0,
            rejected=row["reply"] if row.get("better") else None,
        )
        for number, row in enumerate(rows)
    ]


def main() -> None:
    options = read_options()
    model_cache = ModelCache.default()
    folder = ensure(locate(options.model), model_cache, offline=False, publish=lambda event: None)
    compute = choose("auto", "auto", options.threads, cache_folder=model_cache.root.parent)
    loaded = load(folder, compute)
    base = Base(options.model, loaded, base_hash(loaded, model_cache.root.parent))
    general = [json.loads(line)["prompt"] for line in options.general.read_text().splitlines() if line.strip()]
    with tempfile.TemporaryDirectory(prefix="shammah-sabotage-") as scratch:
        recipe = replace(recipe_for(LoraSettings(), loaded.parameters), seed=options.seed, steps=options.steps)
        shop = Workshop(base, recipe, options.keep or Path(scratch))
        found = candidates(shop, lessons_of(options.suite), lessons_of(options.other), general)
        chosen = [each for each in found if not options.only or any(part in each.name for part in options.only)]
        wrong = [each.name for each in chosen if not right(each, *shop.judged(each))]
    print(f"{len(chosen) - len(wrong)} of {len(chosen)} judged rightly", *wrong, sep="\n  ")
    sys.exit(bool(wrong))


def right(candidate: Candidate, verdict: Verdict, figures: Figures) -> bool:
    """Print a row of the table. A refusal is right where one of the checks that may refuse it did."""
    failed = [check.name for check in verdict.checks if not check.passed]
    wanted = bool(candidate.refused_by)
    is_right = verdict.accepted != wanted and (not wanted or bool(set(failed) & set(candidate.refused_by)))
    said = "accepted" if verdict.accepted else f"refused{' as too far' if verdict.too_far else ''}"
    print(f"{'  ' if is_right else '!!'} {candidate.name:<24} {said:<20} {figures.seconds:5.1f} s", flush=True)
    for check in verdict.checks:
        if not check.passed or not wanted:
            print(f"      {'passed' if check.passed else 'FAILED'}  {check.words}", flush=True)
    return is_right


def told_of(name: str) -> Callable[[Attempt], None]:
    """A line now and then: a run takes minutes."""

    def after(attempt: Attempt) -> None:
        assert attempt.trainer is not None
        done, losses = attempt.trainer.state.step, attempt.trainer.state.losses
        if done % 20 == 0:
            tell(f"{name}: step {done} of {len(attempt.plan.steps)}, loss {losses[-1]:.2f}")

    return after


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path, nargs="?", default=HERE / "heron.jsonl")
    parser.add_argument("other", type=Path, nargs="?", default=HERE / "home.jsonl")
    parser.add_argument("--general", type=Path, default=HERE / "general.jsonl")
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0, help="0: as many as the recipe has")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("-m", "--model", default="smollm2-135m")
    return parser.parse_args()


if __name__ == "__main__":
    main()
