"""The program with a model that says what it is told to. TALKER holds JSON: for texts that the last question has (the
rules stand before it), joined by " & ", the reply, or several of which each call takes the next; the first that fits
counts. TALKER_TRAINS says how runs go, see support/pupil.py."""

import json
import os
import sys
import time
from itertools import count
from pathlib import Path

from shammah.app import App
from shammah.events import Progress

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import pupil, talking


class Talker(talking.Talker):
    has_template = True
    adapter = None

    def __init__(self, answers: dict[str, str | list[str]]):
        super().__init__(window=4096, parameters=1)
        self._answers = {part: [text] if isinstance(text, str) else text for part, text in answers.items()}
        self._calls = {part: count() for part in [*answers, ""]}

    def encode(self, messages, begun=None):
        said = "".join(f"<{message.role}>{message.content}" for message in messages)
        return list((said + (f"<begun>{begun.text}" if begun else "")).encode())

    def count(self, text):
        return len(text.split())

    def log_probability(self, messages, reply):
        """The more a prompt says, the likelier a reply."""
        return -100 / len(self.encode(messages))

    def pieces(self, line):
        for word in talking.words(line):
            time.sleep(float(os.environ.get("TALKER_PAUSE", "0")))
            yield word

    def line(self):
        question = self.prompts[-1].rpartition("<user>")[2]
        part = next((key for key in self._answers if all(part in question for part in key.split(" & "))), "")
        texts = self._answers.get(part, ["I do not know."])
        return texts[next(self._calls[part]) % len(texts)]


def load(app):
    """The model, once the file is there that TALKER_WAITS_FOR names."""
    awaited = os.environ.get("TALKER_WAITS_FOR")
    while awaited and not os.path.exists(awaited):
        app.events.publish(Progress("Loading the talker"))
        time.sleep(0.05)
    return Talker(json.loads(os.environ["TALKER"]))


if __name__ == "__main__":
    App.load_model = load
    pupil.take_over(os.environ.get("TALKER_TRAINS", "{}"))
    from shammah.cli.main import main

    main()
