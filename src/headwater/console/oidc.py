"""OpenID Connect: people sign in at their organization's identity provider (authorization code flow with PKCE).

What somebody may do follows from a claim of the provider's ID token, by a table of the settings.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

import httpx

from headwater.domain.errors import Unavailable
from headwater.domain.scope import Scope

#: Seconds within which the provider has to answer.
TIMEOUT = 10.0
#: Stands for everybody in the table of scopes.
ANYBODY = "*"
#: Seconds by which the clocks may differ.
_LEEWAY = 60
#: Only signatures with a key of the provider: with a shared secret, whoever knows it could sign anything.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]


class SignInRefused(Exception):
    """The provider's answer signs nobody in; the text says why, for the person."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody whom the provider has named."""

    issuer: str
    #: What identifies the person at the issuer.
    subject: str
    #: The name for people: of the audit, and of the list of keys.
    name: str
    scope: Scope


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A sign-in that has begun: where the browser is sent, and what its cookie keeps."""

    url: str
    kept: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class OidcProvider:
    """A provider, as the settings name it."""

    issuer: str
    client_id: str
    client_secret: str | None
    #: The claim that decides what somebody may do, and the scope of each of its values.
    claim: str
    scopes: Mapping[str, Scope]
    #: Where the provider sends the browser back to.
    redirect_uri: str
    transport: httpx.AsyncBaseTransport | None = None
    _found: dict[str, Any] = field(default_factory=dict[str, Any])

    async def begin(self) -> Begun:
        """Return where to sign in.

        Raises:
            Unavailable: the provider does not answer.
        """
        configuration = await self._configuration()
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(kept["verifier"].encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid profile email",
            "state": kept["state"],
            "nonce": kept["nonce"],
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        url = str(configuration["authorization_endpoint"])
        return Begun(url=f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}", kept=kept)

    async def finish(self, answer: Mapping[str, str], kept: Mapping[str, str], *, at: datetime) -> Identity:
        """Return who has signed in; ``answer`` is the query with which the browser came back.

        Raises:
            SignInRefused: nobody has, or may not come in.
            Unavailable: the provider does not answer.
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), kept["state"].encode()):
            raise SignInRefused("This sign-in was not begun in this browser, or too long ago. Try again.")
        if "code" not in answer:
            raise SignInRefused(f"The identity provider refused: {answer.get('error', 'it sent no code')[:200]}")
        configuration = await self._configuration()
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": kept["verifier"],
        }
        secret = {} if self.client_secret is None else {"client_secret": self.client_secret}
        token = await self._call("POST", str(configuration["token_endpoint"]), data={**form, **secret})
        keys = await self._call("GET", str(configuration["jwks_uri"]))
        claims = self._claims(token.get("id_token"), keys, kept["nonce"], at)
        return self._identity(claims)

    def _claims(self, token: object, keys: Mapping[str, Any], nonce: str, at: datetime) -> Mapping[str, Any]:
        # Imported here: who uses no provider needs not have it installed.
        from authlib.oidc.core import CodeIDToken  # noqa: PLC0415
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import KeySet  # noqa: PLC0415

        required = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        try:
            decoded = jwt.decode(str(token or ""), KeySet.import_key_set(cast("Any", keys)), algorithms=_ALGORITHMS)
            claims: Any = CodeIDToken(decoded.claims, decoded.header, required, {"nonce": nonce})
            claims.validate(now=int(at.timestamp()), leeway=_LEEWAY)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise SignInRefused(f"The identity provider's answer is not valid: {type(error).__name__}.") from error
        return claims

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        found = claims.get(self.claim)
        values = cast("list[Any]", found) if isinstance(found, list) else [found]
        named = [str(value) for value in values if value is not None]
        allowed = [self.scopes[value] for value in [*named, ANYBODY] if value in self.scopes]
        scope = max(allowed, key=list(Scope).index, default=None)
        name = str(claims.get("email") or claims.get("name") or claims["sub"])[:200]
        if scope is None:
            raise SignInRefused(f"{name} has no access: no value of the claim {self.claim!r} is in the settings.")
        return Identity(issuer=self.issuer, subject=str(claims["sub"]), name=name, scope=scope)

    async def _configuration(self) -> Mapping[str, Any]:
        if not self._found:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await self._call("GET", url)
            missing = {"authorization_endpoint", "token_endpoint", "jwks_uri"} - found.keys()
            if missing or found.get("issuer") != self.issuer:
                why = f"it lacks {', '.join(sorted(missing))}" if missing else f"its issuer is {found.get('issuer')!r}"
                raise Unavailable(f"the configuration at {url} is not that of {self.issuer}: {why}")
            self._found.update(found)
        return self._found

    async def _call(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, transport=self.transport) as client:
                answer = await client.request(method, url, headers={"Accept": "application/json"}, **request)
            found: object = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the identity provider does not answer at {url}: {error!r}") from error
        if answer.is_client_error:
            raise SignInRefused(f"The identity provider refused with {answer.status_code}. Try again.")
        if not answer.is_success or not isinstance(found, dict):
            raise Unavailable(f"the identity provider answered {answer.status_code} at {url}")
        return cast("dict[str, Any]", found)
