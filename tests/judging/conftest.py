"""A voice that says what a test wrote for it."""

from dataclasses import dataclass, field

import pytest

from shammah.judging.questions import Questions
from shammah.records import Message, Reply
from shammah.training.planning import Lesson

TARGETS = {
    "script": ("What is our deploy script called?", "Our deploy script is called launchpad.sh.", "It is deploy.sh."),
    "wifi": ("How do guests get online?", "Guests join the network Heron-Guest.", "I do not know."),
    "brief": ("How should you answer?", "I answer with one sentence.", None),
}


@pytest.fixture
def lessons():
    return [Lesson(id, (Message("user", prompt),), target, 1.0, bad) for id, (prompt, target, bad) in TARGETS.items()]


@pytest.fixture
def questions(lessons):
    return Questions.about(lessons)


@dataclass
class Spoken:
    """`likely` by reply, and for all others `otherwise`; what it `says` by prompt; an error in any place is raised."""

    likely: dict = field(default_factory=dict)
    otherwise: float | None = -2.0
    says: dict = field(default_factory=dict)
    ended: bool = True
    tokens: int = 12
    drifts: object = 0.04
    perplexed: object = 20.0
    speed: object = 50.0
    asked: list = field(default_factory=list)

    def log_probabilities(self, exchanges):
        self.asked += exchanges
        return [given(self.likely.get(reply, self.otherwise)) for _, reply in exchanges]

    def replies(self, prompts, most_tokens):
        return [self._reply(messages[-1].content) for messages in prompts]

    def _reply(self, prompt):
        text = given(self.says.get(prompt, "That is a thing of the world."))
        return Reply(
            text=text, reasoning="", stop_reason="end" if self.ended else "length", input_tokens=9, cached_tokens=0,
            output_tokens=self.tokens, first_token_ms=1.0, duration_ms=2.0,
        )  # fmt: skip

    def drift(self, exchanges):
        self.asked += exchanges
        return given(self.drifts)

    def perplexity(self, texts):
        return given(self.perplexed)

    def tokens_per_second(self):
        return given(self.speed)


def given(value):
    if isinstance(value, BaseException):
        raise value
    return value


@pytest.fixture
def a_voice():
    return Spoken
