"""A shelf in a folder, and what is put there."""

from functools import partial

import pytest
from support import bundles


@pytest.fixture
def safetensors():
    return bundles.safetensors


@pytest.fixture
def files():
    return dict(bundles.FILES)


@pytest.fixture
def a_manifest():
    return bundles.a_manifest


@pytest.fixture
def root(tmp_path):
    return tmp_path / "adapters"


@pytest.fixture
def put(root):
    """Write an adapter onto the shelf and return its folder."""
    return partial(bundles.put, root)
