"""A monotonic clock and a sleep that pass no real time."""

import asyncio


class FakeTime:
    """Time moves only when somebody sleeps; `slept` lists every pause in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """The seconds on this clock."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
