"""What the tests of destinations share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapters.destination_places import World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """An emulated Azure with a cluster, and the app's access to it."""
    async with a_world(tmp_path) as made:
        yield made
