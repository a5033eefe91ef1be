"""The authority that CA_FILE or a cluster names is trusted, however little it says about itself, and no other."""

import asyncio
import ssl
from pathlib import Path

import pytest

from emulator.tls import throw_away_tls
from gateway_tokens.azure.clients import trust_in

OTHER_CA = throw_away_tls().ca_file
OTHER_TEXT = Path(OTHER_CA).read_text()


async def connect(tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """Connect to a server. Raises SSLError when its certificate is not trusted."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trust)
        writer.close()


async def test_the_authority_that_is_named_is_trusted_and_no_other() -> None:
    right = throw_away_tls.__wrapped__()
    for ca, ca_file in ((None, OTHER_CA), (None, ""), (OTHER_TEXT, right.ca_file)):
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            await connect(right.server, trust_in(ca, ca_file))
    await connect(right.server, trust_in(None, right.ca_file))
    await connect(throw_away_tls().server, trust_in(OTHER_TEXT, right.ca_file))


def test_an_authority_of_an_old_tool_is_trusted_by_file_and_by_text(monkeypatch: pytest.MonkeyPatch) -> None:
    # Since Python 3.13 contexts insist on what such an authority does not say: its key's identifier, critical constraints.
    usual = ssl.create_default_context

    def strict(**named: str | None) -> ssl.SSLContext:
        context = usual(**named)  # type: ignore[arg-type] # the names are the function's own
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    insist = [
        bool(trust_in(ca, ca_file).verify_flags & ssl.VERIFY_X509_STRICT)
        for ca, ca_file in ((None, OTHER_CA), (OTHER_TEXT, ""), (None, ""))
    ]
    assert insist == [False, False, True]
