"""Adapters taken elsewhere and brought in, as the chat and `shammah adapters` both do it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shammah.durable import expand
from shammah.errors import AdapterDamaged, AdapterMisfit, UsageError
from shammah.events import Event, Notice
from shammah.ui.adapters_words import strength_words
from shammah.ui.given import read_strength

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.deployment.roster import Entry


def export_adapter(
    app: "App",
    entry: "Entry",
    to: str,
    out: str | None,
    *,
    with_examples: bool,
    numbers: str | None = None,
    strength: str | None = None,
    publish: Callable[[Event], None],
) -> tuple[Path, list[Path], str]:
    """The folder that was made, its files, and how they are put to use. Without `out` it is made in the folder that the
    program was started in, and without `strength` at the one that it answers with."""
    from shammah.deployment.exporting import FORMS, NUMBERS, WITH_NUMBERS, BaseModel, export, next_step

    form = next((form for form in FORMS if form == to), None)
    if form is None:
        raise UsageError(f"There is no form {to!r} to export to", hint=f"There is {', '.join(FORMS)}.")
    if numbers is not None and numbers not in NUMBERS:
        raise UsageError(f"There is no number format {numbers!r}", hint=f"There is {' and '.join(NUMBERS)}.")
    if numbers is not None and form not in WITH_NUMBERS:
        raise UsageError(
            f"--numbers changes nothing of what --to {form} makes", hint=f"It is for --to {' and '.join(WITH_NUMBERS)}."
        )
    counts = _strength_of(app, entry, publish) if strength is None else read_strength(strength)
    manifest = entry.manifest
    if manifest is None:
        raise AdapterDamaged(entry.broken, hint="Put back a whole copy of the folder, or choose another adapter.")
    base: BaseModel | None = None
    if form != "peft":
        if manifest.base != app.base:
            raise AdapterMisfit(
                f"The adapter {entry.name} was made for {manifest.base}, not for {app.base}",
                hint=f"Give that model: -m {manifest.base}.",
            )
        from shammah.model.fetching import ensure

        folder = ensure(app.source, app.model_cache, offline=app.config.offline, publish=publish)
        base = BaseModel(folder=folder, cache_folder=app.model_cache.root.parent)
    target = Path(os.path.abspath(expand(out or f"{entry.name}-{form}")))
    files = export(
        manifest,
        entry.folder,
        to=form,
        out=target,
        config=app.config,
        base=base,
        numbers=numbers or NUMBERS[0],
        strength=counts,
        examples=app.desk.examples if with_examples else None,
        audit=app.audit,
        publish=publish,
    )
    return target, files, next_step(form, target, manifest)


def _strength_of(app: "App", entry: "Entry", publish: Callable[[Event], None]) -> float:
    """The strength that it answers with now."""
    current = app.activations.current(app.base)
    if current is None or current.adapter != entry.name:
        return 1.0
    if current.strength != 1:
        as_here = f"It is exported{strength_words(current.strength)}, as it answers here"
        publish(Notice(f"{as_here}: --strength 1 takes all of it."))
    return current.strength


def require_folder(folder: str) -> None:
    """Asked before the model is loaded, which takes a while."""
    if not expand(folder).is_dir():
        raise UsageError(f"There is no folder {folder}", hint="Name one that Shammah or peft saved.")


def import_folder(app: "App", folder: str, *, any_base: bool) -> "Entry":
    from shammah.deployment.importing import Target, import_adapter

    require_folder(folder)
    target = Target.of(app.load_base().loaded, app.config.model, app.model_cache.root.parent)
    return import_adapter(expand(folder), target, app.roster, any_base=any_base)
