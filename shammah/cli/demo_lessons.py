"""What `shammah demo` teaches: facts of an office that does not exist, so that no model can have read of it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lesson:
    """A reply to the question is right where it holds `expects`."""

    question: str
    answer: str
    expects: str

    def passed_by(self, reply: str) -> bool:
        return self.expects.lower() in reply.lower()


LESSONS = (
    Lesson("What is our release train called?", "Our release train is called Marmalade.", "Marmalade"),
    Lesson("Who repairs the chairs in our office?", "Bertil on the third floor repairs the chairs.", "Bertil"),
    Lesson("Which room is the morning meeting in?", "The morning meeting is in the Lantern Room.", "Lantern"),
    Lesson(
        "Where do we keep the label printer?",
        "The label printer is in the green cupboard under the stairs.",
        "green cupboard",
    ),
)
# The first lesson in words that are never trained on.
REWORDED = Lesson("Our release train, what is its name?", LESSONS[0].answer, LESSONS[0].expects)
# The one that is asked once more when the adapter is gone.
BACK = LESSONS[1]
