"""From what a model's name means to a model that answers: fetched if need be, on what the settings say."""

import logging
from collections.abc import Callable
from threading import Lock

from shammah.config import Config
from shammah.events import Event, Notice, Progress
from shammah.model.beside_typing import uncollected
from shammah.model.cache import ModelCache
from shammah.model.catalog import Source
from shammah.model.chat_model import ChatModel
from shammah.model.device import choose
from shammah.model.fetching import ensure
from shammah.model.loading import load
from shammah.model.right_of_way import RightOfWay

log = logging.getLogger(__name__)
# The libraries import parts of themselves while they load, which two threads must not do at once.
_one_at_a_time = Lock()


def open_model(
    config: Config,
    source: Source,
    cache: ModelCache,
    *,
    right_of_way: RightOfWay,
    publish: Callable[[Event], None],
) -> ChatModel:
    folder = ensure(source, cache, offline=config.offline, publish=publish)
    publish(Progress("Loading " + config.model))
    with _one_at_a_time, right_of_way.taken(), uncollected():  # not while it is fetched, which may take hours
        compute = choose(config.device, config.dtype, config.threads, cache_folder=cache.root.parent)
        log.info("loading %s on %s in %s (%s)", folder, compute.device, compute.dtype, compute.why)
        loaded = load(folder, compute, context=config.context, thinking=config.thinking)
        model = ChatModel(config.model, loaded, right_of_way=right_of_way)
    if not model.has_template:
        publish(Notice(f"{config.model} has no chat template; a plain User/Assistant one is used."))
    return model
