"""What a model says where training asks it: many prompts at once, and fewer where memory runs out."""

from collections.abc import Callable, Sequence

from shammah.config import GenerationSettings
from shammah.errors import DeviceError
from shammah.model.chat_model import ChatModel
from shammah.records import Message, Reply
from shammah.training.fitting import too_little_memory

# So many of so many prompts have their reply.
Asked = Callable[[int, int], None]


def replies_to(
    prompts: Sequence[Sequence[Message]],
    speaker: ChatModel,
    how: GenerationSettings,
    asked: Asked = lambda done, of: None,
    *,
    rows: int = 16,
) -> list[Reply]:
    """In the order of the prompts, so many `rows` written at once."""
    encoded = [speaker.encode(messages) for messages in prompts]
    while True:
        said: dict[int, Reply] = {}
        try:
            for place, reply in speaker.replies(encoded, how, rows=rows):
                said[place] = reply
                asked(len(said), len(prompts))
            return [said[place] for place in range(len(prompts))]
        except DeviceError as error:
            if rows == 1:
                raise too_little_memory() from error
            rows //= 2
