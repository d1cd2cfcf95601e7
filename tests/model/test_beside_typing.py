"""Nothing that loading does may hold up who types: asked of fresh processes, where nothing is imported yet."""

import gc
import subprocess
import sys

import pytest

from shammah.model.beside_typing import load_torch_library, uncollected


def told_by(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_nothing_is_collected_within_and_all_as_before_after_it():
    with pytest.raises(ZeroDivisionError), uncollected():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()


def test_one_within_another_does_not_begin_it_again():
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has mapped")
def test_the_library_is_there_before_torch_is_imported_and_torch_works_with_it():
    assert told_by("""
import sys
from pathlib import Path
from shammah.model.beside_typing import load_torch_library
assert load_torch_library() and "torch" not in sys.modules
mapped = Path("/proc/self/maps").read_text()
assert "libtorch_python" in mapped and "libtorch_cpu" in mapped
import torch
print(torch.nn.Linear(3, 2)(torch.ones(1, 3)).shape, load_torch_library())
""") == "torch.Size([1, 2]) False"  # fmt: skip


def test_where_torch_is_there_already_nothing_is_done():
    import torch  # noqa: F401

    assert not load_torch_library()


def test_what_was_imported_is_not_looked_through_for_garbage_any_more():
    assert told_by("""
import gc
from shammah.model.beside_typing import opener
open_model, first = opener(), gc.get_freeze_count()
opener()
print(open_model.__module__, first > 100_000, gc.get_freeze_count() <= first, gc.isenabled())
""") == "shammah.model.opening True True True"  # fmt: skip
