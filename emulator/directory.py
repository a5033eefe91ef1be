"""Entra's tenant as the emulator has it: signing keys, one API, the applications that call it, the tokens they get."""

import functools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import PyJWS
from jwt.algorithms import RSAAlgorithm

TENANT_ID = "7e57ab1e-0000-4000-8000-000000000001"
# The app registration of the API, and one application that calls it.
API_ID = "7e57ab1e-0000-4000-8000-00000000000a"
CALLER_ID = "7e57ab1e-0000-4000-8000-00000000000b"
CALLER_OBJECT_ID = "7e57ab1e-0000-4000-8000-00000000000c"


@dataclass(frozen=True)
class SigningKey:
    """A key pair and its id."""

    key_id: str
    private: rsa.RSAPrivateKey = field(repr=False)

    def sign(self, claims: Mapping[str, Any], **header: object) -> str:
        """Return a token with these claims; `header` replaces or adds to what its header has."""
        # Below the layer that checks claims: tests sign what Entra never would.
        payload = json.dumps(dict(claims)).encode()
        return PyJWS().encode(payload, self.private, "RS256", headers={"kid": self.key_id, **header})

    def published(self) -> dict[str, Any]:
        """Return the public half as Entra publishes it: without `alg`."""
        public = json.loads(RSAAlgorithm.to_jwk(self.private.public_key()))
        numbers = {name: public[name] for name in ("n", "e")}
        return {"kty": "RSA", "use": "sig", "kid": self.key_id, "x5t": self.key_id, **numbers}


@functools.cache
def signing_key(key_id: str) -> SigningKey:
    """Return this process's key of that id, made at the first call."""
    return SigningKey(key_id, rsa.generate_private_key(public_exponent=65537, key_size=2048))


@dataclass(frozen=True)
class Application:
    """An application that calls the API: its ids, its app roles, its secret."""

    client_id: str
    object_id: str
    roles: tuple[str, ...] = ()
    secret: str = field(default_factory=secrets.token_urlsafe, repr=False)


class Directory:
    """The tenant. The first of `key_ids` signs, all are published; `endpoint` is the address of its sign-in."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.key_ids = ["emulator-1"]
        self.applications = {CALLER_ID: Application(CALLER_ID, CALLER_OBJECT_ID)}

    def key_set(self) -> dict[str, Any]:
        """Return the published keys."""
        return {"keys": [signing_key(key_id).published() for key_id in self.key_ids]}

    def access_token(
        self,
        now: datetime,
        application: Application | None = None,
        *,
        version: int = 2,
        **other: Any,  # noqa: ANN401 - claims are open
    ) -> str:
        """Return an access token for the API; `other` claims replace those of the same name, None removes one."""
        application = application or self.applications[CALLER_ID]
        claims = {
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + timedelta(hours=1)).timestamp()),
            "oid": application.object_id,
            "sub": application.object_id,
            "tid": TENANT_ID,
            "roles": list(application.roles) or None,
            **(self._of_v1(application) if version == 1 else self._of_v2(application)),
            **other,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        return signing_key(self.key_ids[0]).sign(present)

    def _of_v1(self, application: Application) -> dict[str, str]:
        issuer = f"https://sts.windows.net/{TENANT_ID}/"
        return {"ver": "1.0", "iss": issuer, "aud": f"api://{API_ID}", "appid": application.client_id}

    def _of_v2(self, application: Application) -> dict[str, str]:
        issuer = f"{self.endpoint}/{TENANT_ID}/v2.0"
        return {"ver": "2.0", "iss": issuer, "aud": API_ID, "azp": application.client_id}
