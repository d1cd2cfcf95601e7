"""The threads that compute for ours. By OpenMP's rules every thread that ever computed keeps a team of its own.

With more of them alive than there are cores, libgomp lets its threads sleep after microseconds without work instead of
milliseconds, and each small product has to wake them: beside a team that does nothing some take twice as long.
So who will not compute for a while lets its team go. A new one takes less than a tenth of a millisecond.
"""

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

# What torch computes with: named by the system for each library that this process has loaded.
_LOADED = Path("/proc/self/maps")
_FIELDS = 5  # before the path, which may have spaces in it
_SOFT = 1


def dismiss_team() -> None:
    """Let the threads go that computed for the calling one. Elsewhere than with libgomp nothing happens."""
    library = _libgomp()
    if library is not None:
        library.omp_pause_resource_all(_SOFT)


@cache
def _libgomp() -> Any:
    """Called when torch has computed something, so it is loaded by then if it ever is."""
    if sys.platform != "linux":
        return None
    try:
        lines = (line.split(maxsplit=_FIELDS) for line in _LOADED.read_text().splitlines() if "libgomp" in line)
        paths = {Path(line[_FIELDS]) for line in lines if len(line) > _FIELDS}
        # Others may have brought one of their own.
        torch = Path(sys.modules["torch"].__file__ or "").parent
        library = ctypes.CDLL(str(min(paths, key=lambda path: (torch not in path.parents, path))))
        library.omp_pause_resource_all  # noqa: B018  # older ones cannot do it
    except (OSError, ValueError, AttributeError, KeyError):
        return None
    return library
