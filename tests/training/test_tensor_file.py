import subprocess
import sys

import torch
from safetensors.torch import load

from shammah.training.tensor_file import file_of


def test_it_can_be_read_again():
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5], dtype=torch.bfloat16)}
    read = load(file_of(tensors, {"format": "pt"}))
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_too_little_memory_is_told_and_ends_nothing():
    script = """
import resource
import psutil, torch
from shammah.training.tensor_file import file_of
tensors = {"a": torch.zeros(9_000_000)}
limit = psutil.Process().memory_info().vms + 80_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    file_of(tensors, {})
except MemoryError:
    print("told")
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (child.stdout, child.returncode) == ("told\n", 0), child.stderr
