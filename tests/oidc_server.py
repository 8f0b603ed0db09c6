"""A small OpenID Connect provider on a port of its own, at which everybody is who the test says."""

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "headwater", "of-headwater"


class OidcServer:
    """Signs in whoever comes, as ``person``; ``claims`` replace those of the ID token, ``key`` signs it."""

    def __init__(self) -> None:
        self.own_key = RSAKey.generate_key(2048, {"kid": "one"})
        self.key = self.own_key
        self.person: dict[str, Any] = {"sub": "42", "email": "anna@example.org", "groups": ["crawls"]}
        self.claims: dict[str, Any] = {}
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                match url.path:
                    case "/.well-known/openid-configuration":
                        self._answer(provider.configuration())
                    case "/keys":
                        self._answer({"keys": [provider.own_key.as_dict(private=False)]})
                    case "/authorize":
                        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
                        self.send_response(302)
                        self.send_header("Location", provider.authorized(asked))
                        self.end_headers()
                    case _:
                        self._answer({"error": "not found"}, 404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                given = {name: values[-1] for name, values in parse_qs(body).items()}
                found = provider.token(given)
                self._answer(found or {"error": "invalid_grant"}, 200 if found else 400)

            def _answer(self, found: dict[str, Any], status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def configuration(self) -> dict[str, Any]:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in names.items()}}

    def authorized(self, asked: dict[str, str]) -> str:
        """Return where the browser is sent back to, with a code."""
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, given: dict[str, str]) -> dict[str, Any] | None:
        """Return the tokens for a code, once, to who has begun."""
        asked = self._codes.pop(given.get("code", ""), None)
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or challenge != asked["code_challenge"] or given.get("client_secret") != SECRET:
            return None
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, {**claims, **self.person, **self.claims}, self.key)
        return {"access_token": "x", "token_type": "Bearer", "id_token": signed}
