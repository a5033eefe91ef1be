"""How moments are written, everywhere: aware UTC to the second, as Azure writes them."""

from __future__ import annotations

from datetime import UTC, datetime

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def written(moment: datetime) -> str:
    """`yyyy-MM-ddTHH:mm:ssZ`."""
    return moment.astimezone(UTC).strftime(_FORM)


def read(text: str) -> datetime:
    """What `written` wrote, as aware UTC. Raises ValueError for anything else."""
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
