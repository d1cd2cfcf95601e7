"""What loading a model must not do to who types meanwhile: hold the interpreter's lock for longer than a blink."""

import ctypes
import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shammah.model.chat_model import ChatModel


def opener() -> "Callable[..., ChatModel]":
    """`open_model`, whose import takes a second or more."""
    first = "shammah.model.opening" not in sys.modules
    with uncollected():
        load_torch_library()
        from shammah.model.opening import open_model

        if first:
            gc.freeze()  # or the first look after this one goes through all that was imported
    return open_model


@contextmanager
def uncollected() -> Iterator[None]:
    """Imports make a hundred thousand objects that stay, and each look through them for garbage takes longer than the
    one before, up to half a second; nothing of them is garbage."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def load_torch_library() -> bool:
    """Python keeps its lock while it loads an extension, a third of a second for torch's. The system's own call, made
    before, is made without the lock, and the import then finds the library there. Whether that was done; where it is
    not, the import does it all."""
    torch = importlib.util.find_spec("torch") if os.name != "nt" and "torch" not in sys.modules else None
    if torch is None or not torch.submodule_search_locations:
        return False
    folder = Path(torch.submodule_search_locations[0]) / "lib"
    ending = "dylib" if sys.platform == "darwin" else "so"
    try:
        dlopen = ctypes.CDLL(None).dlopen
    except (OSError, AttributeError):
        return False  # a program that holds no such call
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    # In the order and the ways of torch itself: the symbols of what it depends on are for all.
    shared = dlopen(os.fsencode(folder / f"libtorch_global_deps.{ending}"), os.RTLD_NOW | os.RTLD_GLOBAL)
    return bool(shared and dlopen(os.fsencode(folder / f"libtorch_python.{ending}"), os.RTLD_NOW))
