"""The authority that CA_FILE names is trusted, however little it says about itself: over TLS, on loopback."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.estate.app_settings import read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from azure.core.pipeline import PipelineRequest, PipelineResponse

_ANSWER = "the server behind the inspecting proxy"
_MAY_SIGN = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
_CONSTRAINTS = x509.BasicConstraints(ca=True, path_length=None)
Extensions = list[tuple[x509.ExtensionType, bool]]


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> bytes:
    def named(common_name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        named(issuer), named(name), key.public_key(), x509.random_serial_number()
    )
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@asynccontextmanager
async def server(folder: Path, root_extensions: Extensions) -> AsyncIterator[tuple[str, Path]]:
    """A TLS server's address, and the file of the root that signed its certificate."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    chain, root = folder / "server.pem", folder / "root.pem"
    root.write_bytes(certificate("Root", root_key, "Root", root_key, root_extensions))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf = certificate("Server", key, "Root", root_key, [(address, False), (authority, False)])
    chain.write_bytes(key.private_bytes(*form) + leaf)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    app = web.Application()
    app.router.add_get("/", _answered)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}", root
    finally:
        await runner.cleanup()


async def _answered(_: web.Request) -> web.Response:
    return web.Response(text=_ANSWER)


class _Anonymous(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        return await self.next.send(request)


async def asked(address: str, ca_file: Path) -> str:
    settings = {
        "GATEWAY_TOKENS": '{"services": {}}',
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "ALLOW_FUNCTION_KEYS": "true",
        "CA_FILE": str(ca_file),
    }
    azure = AzureAccess(read_settings(settings))
    client = azure.pipeline(address, ca=None, authentication_policy=_Anonymous())
    try:
        response = await client.send_request(HttpRequest("GET", f"{address}/"))
        return response.text()
    finally:
        await client.close()
        await azure.close()


async def _at_once(_: float) -> None:
    """No test waits between two tries."""


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
        pytest.param([(_CONSTRAINTS, True), (_MAY_SIGN, True)], id="critical constraints, no key identifier"),
        pytest.param([(_CONSTRAINTS, False), (_MAY_SIGN, True)], id="constraints that are not critical"),
        pytest.param([(_CONSTRAINTS, False)], id="constraints that are not critical, no usage"),
        pytest.param([(_MAY_SIGN, True)], id="no constraints"),
    ],
)
async def test_an_authority_of_an_old_tool_is_trusted(tmp_path: Path, extensions: Extensions) -> None:
    async with server(tmp_path, extensions) as (address, root):
        assert await asked(address, root) == _ANSWER


async def test_an_authority_that_the_file_does_not_hold_is_not_trusted(tmp_path: Path) -> None:
    extensions: Extensions = [(_CONSTRAINTS, True), (_MAY_SIGN, True)]
    (tmp_path / "other").mkdir()
    async with (
        server(tmp_path, extensions) as (address, _),
        server(tmp_path / "other", extensions) as (_, other),
    ):
        with pytest.raises(ServiceRequestError, match="certificate verify failed"):
            await asked(address, other)
