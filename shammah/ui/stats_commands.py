"""/stats: how much was rated and how, by model, adapter and day."""

from typing import TYPE_CHECKING

from shammah.ui.commands import read_count, registry
from shammah.ui.talk import require_kept

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

_LONGEST_TIME = 3650


@registry.command("stats", group="machine", arguments="[days]", help="ratings and quality by model, adapter and day")
def stats(repl: "Repl", argument: str) -> None:
    from shammah.store.statistics import statistics
    from shammah.ui.stats_words import stats_lines

    require_kept(repl.app, "there is nothing to count")
    days = read_count(argument, "/stats counts all days, /stats 7 the last seven.", otherwise=0)
    found = statistics(repl.app.database, days=min(days, _LONGEST_TIME) or None)
    lines = stats_lines(found, repl.app.desk.buffer(), ascii=repl.screen.ascii, columns=repl.screen.columns)
    repl.screen.tell("\n".join(lines))
