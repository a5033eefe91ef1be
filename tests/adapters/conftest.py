"""What the tests of destinations share."""

from collections.abc import AsyncIterator

import pytest

from tests.adapters.destination_places import World, a_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """An emulated Azure with a cluster, and the app's access to it."""
    async with a_world() as made:
        yield made
