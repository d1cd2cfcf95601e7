"""What the base model says by itself to general prompts: asked once for each model, and kept beside it.

Nothing of the user's is in it: the prompts are ours. Replies to questions that look like the user's own are made anew
for each run and never written down.
"""

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from shammah.durable import make_folder, write_file
from shammah.errors import DiskFull, HomeError
from shammah.training.anchors import PROMPTS
from shammah.training.planning import BaseReply

Ask = Callable[[Sequence[str]], list[BaseReply]]


class AnchorBook:
    def __init__(self, folder: Path, voice: str, ask: Ask, *, ours: Collection[str] = PROMPTS) -> None:
        """`ask` has the model answer; `voice` is a hash of all that its answers depend on. `ours` are the prompts whose
        replies are kept."""
        self._file = folder / f"{voice[:24]}.json"
        self._ask, self._ours = ask, ours

    def replies(self, prompts: Sequence[str]) -> list[BaseReply]:
        """In the order of the prompts; those that are ours from the book, where it has them."""
        known = self._read()
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        # Asked together, replies may differ in a token from those asked in other company. A run that is gone on with
        # finds ours in the book, and must hear the others as it heard them before.
        ours, others = ([prompt for prompt in missing if (prompt in self._ours) == mine] for mine in (True, False))
        if ours:
            known |= {reply.prompt: reply for reply in self._ask(ours)}
            self._write(list(known.values()))
        if others:
            known |= {reply.prompt: reply for reply in self._ask(others)}
        return [known[prompt] for prompt in prompts]

    def _read(self) -> dict[str, BaseReply]:
        try:
            rows = json.loads(self._file.read_text())
            replies = [BaseReply(str(prompt), str(text), bool(ended)) for prompt, text, ended in rows]
        except (OSError, ValueError, TypeError):
            return {}  # not there, or not whole: asked again
        return {reply.prompt: reply for reply in replies if reply.prompt in self._ours}

    def _write(self, replies: Sequence[BaseReply]) -> None:
        rows = [[reply.prompt, reply.text, reply.ended] for reply in replies]
        try:
            make_folder(self._file.parent)
            write_file(self._file, json.dumps(rows, ensure_ascii=False, indent=0).encode())
        except (DiskFull, HomeError):
            pass  # asked again next time: seconds lost, nothing else
