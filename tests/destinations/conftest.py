"""What the tests of destinations share."""

from collections.abc import AsyncIterator

import pytest

from tests.destinations.destination_places import Surroundings, surroundings_of


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    """An emulated Azure with a cluster, and the app's access to it."""
    async with surroundings_of() as surroundings:
        yield surroundings
