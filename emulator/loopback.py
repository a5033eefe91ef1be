"""The environment of a process whose Azure is on this machine."""

import os

LOOPBACK = "127.0.0.1,localhost"


def without_proxy_for_loopback() -> None:
    """Keep a proxy that the environment names from calls to this machine."""
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    # urllib reads both names; the one in small letters counts first.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{before},{LOOPBACK}" if before else LOOPBACK
