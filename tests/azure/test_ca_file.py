"""The authority that CA_FILE names is trusted, however little it says about itself: over TLS, on loopback."""

import asyncio
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from emulator.tls import MAY_SIGN, throw_away_tls
from gateway_tokens.azure.clients import trust_in

Extensions = Iterable[tuple[x509.ExtensionType, bool]]
OTHER_CA = throw_away_tls().ca_file
OTHER_TEXT = Path(OTHER_CA).read_text()
_CONSTRAINTS = x509.BasicConstraints(ca=True, path_length=None)


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, root_key: ec.EllipticCurvePrivateKey, extensions: Extensions
) -> bytes:
    """What the root signs for this name and key."""
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in ("Root", name))
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def authority(folder: Path, extensions: Extensions) -> tuple[ssl.SSLContext, str, str]:
    """A server's TLS, and the root with these extensions that signed its certificate: its file and its text."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain, root = folder / "server.pem", folder / "root.pem"
    root.write_bytes(certificate("Root", root_key, root_key, extensions))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf = certificate("Server", key, root_key, [(address, False), (issuer, False)])
    chain.write_bytes(key.private_bytes(*form) + leaf)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    return tls, str(root), root.read_text()


async def connect(tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    """Connect to a server. Raises SSLError when its certificate is not trusted."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trust)
        writer.close()


@pytest.fixture(params=["this Python's defaults", "the defaults since Python 3.13"])
def defaults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 made contexts strict; here every Python is, once as it comes and once as 3.13 comes."""
    if "3.13" not in request.param:
        return
    usual = ssl.create_default_context

    def strict(**named: str | None) -> ssl.SSLContext:
        context = usual(**named)  # type: ignore[arg-type] # the names are the function's own
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([(_CONSTRAINTS, True), (MAY_SIGN, True)], id="critical constraints, no key identifier"),
        pytest.param([(_CONSTRAINTS, False), (MAY_SIGN, True)], id="constraints that are not critical"),
        pytest.param([(_CONSTRAINTS, False)], id="constraints that are not critical, no usage"),
        pytest.param([(MAY_SIGN, True)], id="no constraints"),
    ],
)
async def test_an_authority_of_an_old_tool_is_trusted_by_file_and_by_text(
    tmp_path: Path, extensions: Extensions
) -> None:
    tls, ca_file, ca = authority(tmp_path, extensions)
    await connect(tls, trust_in(None, ca_file))
    await connect(tls, trust_in(ca, OTHER_CA))


async def test_no_other_authority_than_the_one_that_is_named_is_trusted(tmp_path: Path) -> None:
    tls, right_file, _ = authority(tmp_path, [(_CONSTRAINTS, True), (MAY_SIGN, True)])
    for ca, ca_file in ((None, OTHER_CA), (None, ""), (OTHER_TEXT, right_file)):
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            await connect(tls, trust_in(ca, ca_file))
