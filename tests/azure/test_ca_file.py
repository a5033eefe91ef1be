"""The authority that CA_FILE names is trusted, however little it says about itself: over TLS, on loopback."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from emulator.tls import throw_away_tls
from gateway_tokens.azure.clients import trust_in

OTHER_CA = throw_away_tls().ca_file
OTHER_TEXT = Path(OTHER_CA).read_text()


def signed(root: ec.EllipticCurvePrivateKey, name: str, extension: x509.ExtensionType) -> bytes:
    """A key's certificate by the root, which says what an old tool's does: this, and nothing else. PEM."""
    key = root if name == "Root" else ec.generate_private_key(ec.SECP256R1())
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in ("Root", name))
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = (
        builder.not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(extension, critical=False)
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form) + builder.sign(root, hashes.SHA256()).public_bytes(form[0])


async def connect(tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """Connect to a server. Raises SSLError when its certificate is not trusted."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trust)
        writer.close()


async def test_an_authority_of_an_old_tool_is_trusted_by_file_and_by_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ssl.create_default_context

    def strict(**named: str | None) -> ssl.SSLContext:
        """As since Python 3.13."""
        context = usual(**named)  # type: ignore[arg-type] # the names are the function's own
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    root, (server_file, root_file) = ec.generate_private_key(ec.SECP256R1()), (tmp_path / "s", tmp_path / "r")
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    server_file.write_bytes(signed(root, "Server", address))
    root_file.write_bytes(signed(root, "Root", x509.BasicConstraints(ca=True, path_length=None)))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server_file)
    await connect(tls, trust_in(None, str(root_file)))
    await connect(tls, trust_in(root_file.read_text(), OTHER_CA))


async def test_no_other_authority_than_the_one_that_is_named_is_trusted() -> None:
    right = throw_away_tls.__wrapped__()
    for ca, ca_file in ((None, OTHER_CA), (None, ""), (OTHER_TEXT, right.ca_file)):
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            await connect(right.server, trust_in(ca, ca_file))
    await connect(right.server, trust_in(None, right.ca_file))
