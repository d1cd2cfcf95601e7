"""A chat without a terminal, in the process of the test: lines in, and what was said to each out."""

from io import StringIO

from shammah.app import App
from shammah.ui.render import Screen
from shammah.ui.repl import Repl


class Stream(StringIO):
    """As a program's own stream, which can tell its encoding."""

    encoding = "utf-8"


class Inside:
    def __init__(self, model, cache, *assignments, encoding="utf-8", **flags):
        few = ("generation.max_tokens=4", "generation.temperature=0", "dtype=float32", "threads=1")
        settings = (*few, f"models_dir={cache / 'models'}", "lora.training.auto=off", *assignments)
        self.app = App.build(flags={"model": str(model), **flags}, assignments=settings)
        self.out, self.err = Stream(), Stream()
        self.err.encoding = encoding
        self.repl = Repl(self.app, Screen(self.out, self.err))
        self.talk = self.repl.talk

    def load(self):
        self.talk.start_loading()
        self.talk.model()
        return self

    def says(self, line):
        """What the chat says to a line, beside a reply."""
        before = len(self.err.getvalue())
        self.repl._take(line)
        return self.err.getvalue()[before:]

    def asks(self, line):
        """The reply to a line."""
        before = len(self.out.getvalue())
        self.repl._take(line)
        return self.out.getvalue()[before:]

    def wait_for_other(self):
        """Until another model that is being loaded is there, or can't be."""
        self.talk._other.ready(60)
