"""`shammah adapters export` and `import`: an adapter taken elsewhere, and one brought in."""

from typing import Any

import click

from shammah.cli.adapters_group import name_argument
from shammah.cli.options import common, json_option, model_options, opened, to_json
from shammah.ui.adapters_travel import export_adapter, import_folder
from shammah.ui.adapters_words import entry_json, short_name
from shammah.ui.shelf_commands import who_answers


@click.command("export")
@name_argument()
@click.option("--to", metavar="peft|merged|gguf-lora|gguf|ollama", default="peft", show_default=True, help="As what.")
@click.option("--out", metavar="FOLDER", type=click.Path(), help="The folder to make; else one is made here.")
@click.option("--numbers", metavar="f16|q8_0", help="How exact a merged GGUF file is; f16 unless told.")
@click.option("--strength", metavar="0..1", help="How strongly it speaks there; else as it does here.")
@click.option("--with-examples", is_flag=True, help="With what it was trained on, as it is stored.")
@model_options
@json_option
@common
def export(
    name: str,
    to: str,
    out: str | None,
    numbers: str | None,
    strength: str | None,
    with_examples: bool,
    as_json: bool,
    assignments: tuple[str, ...],
    **options: Any,
) -> int:
    """Take an adapter elsewhere.

    As a PEFT folder, merged into its model, or as files for llama.cpp and Ollama.
    """
    with opened(options, assignments) as (app, screen):
        app.events.subscribe(screen.handle)
        entry = app.roster.find(name, base=app.base)
        target, files, step = export_adapter(
            app,
            entry,
            to,
            out,
            with_examples=with_examples,
            numbers=numbers,
            strength=strength,
            publish=app.events.publish,
        )
    screen.progress.clear()
    if as_json:
        paths = [str(file) for file in files]
        screen.line(to_json({"name": entry.name, "to": to, "path": str(target), "files": paths, "use": step}))
    else:
        screen.line(str(target))
        screen.say(f"Put it to use: {step}")
    return 0


@click.command("import")
@click.argument("folder", type=click.Path(), metavar="FOLDER")
@click.option(
    "--any-base", is_flag=True, help="Even where nothing says that it was made for this model; it must fit it."
)
@model_options
@json_option
@common
def import_(folder: str, any_base: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Take in a copy of an adapter that Shammah or peft saved. It has to fit the model, which is loaded for that."""
    with opened(options, assignments) as (app, screen):
        app.events.subscribe(screen.handle)
        entry = import_folder(app, folder, any_base=any_base)
        current, answering = app.activations.current(app.base), who_answers(app)
    screen.progress.clear()
    if as_json:
        screen.line(to_json(entry_json(entry, current, answering)))
    else:
        screen.line(entry.name)
        screen.say(f"`shammah adapters load {short_name(entry.name)}` lets it answer.")
    return 0
