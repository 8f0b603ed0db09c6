"""Secrets: sealed before the catalog holds them, and task tokens, which it never holds."""

import base64
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headwater.domain.parameter import Parameter, ParameterType

#: What a password reads as; sent back, it means the one that is stored.
REDACTED = "********"
#: A secret key has at least so many characters.
SHORTEST_SECRET = 32


def new_secret() -> str:
    """Return a new secret key."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return the hash under which an API key is stored."""
    return sha256(secret.encode()).hexdigest()


class Vault:
    """Seals with a key from the settings (Fernet: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, secret_key: str) -> None:
        """Derive one key for each purpose.

        Raises:
            ValueError: the secret is too short to protect anything.
        """
        if len(secret_key) < SHORTEST_SECRET:
            raise ValueError(f"the secret key has {len(secret_key)} characters; it needs {SHORTEST_SECRET} random ones")
        self._sealing = Fernet(base64.urlsafe_b64encode(_derive(secret_key, b"headwater sealing")))
        self._tokens = _derive(secret_key, b"headwater task tokens")

    def seal(self, value: Any) -> str:
        """Return any JSON as sealed text."""
        return self._sealing.encrypt(json.dumps(value).encode()).decode()

    def unseal(self, sealed: str) -> Any:
        """Return what was sealed.

        Raises:
            cryptography.fernet.InvalidToken: it was sealed with another secret key.
        """
        return json.loads(self._sealing.decrypt(sealed.encode()))

    def seal_passwords(self, parameters: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with those of password parameters sealed."""
        passwords = {parameter.name for parameter in parameters if parameter.type is ParameterType.PASSWORD}
        return {
            name: {"sealed": self.seal(value)} if name in passwords and value is not None else value
            for name, value in values.items()
        }

    def unseal_passwords(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values as the EC needs them."""
        return {name: self.unseal(value["sealed"]) if _is_sealed(value) else value for name, value in values.items()}

    def keep_seals(self, stored: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return sealed values where those that are stored mean the same, as they are stored: nothing has changed."""
        return {
            name: stored[name]
            if _is_sealed(value)
            and _is_sealed(stored.get(name))
            and self.unseal(value["sealed"]) == self.unseal(stored[name]["sealed"])
            else value
            for name, value in values.items()
        }

    def task_token(self, task: str, attempt: int) -> str:
        """Return the secret of one attempt of a task.

        It is derived, so that it is stored nowhere, not even hashed, and that a start which is tried
        again sends the same one.
        """
        mac = hmac.digest(self._tokens, f"{task}:{attempt}".encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def is_task_token(self, token: str, task: str, attempt: int) -> bool:
        """Tell, in constant time, whether ``token`` is that of the attempt."""
        return hmac.compare_digest(token.encode(), self.task_token(task, attempt).encode())


def redact(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameter values with a placeholder for each sealed one."""
    return {name: REDACTED if _is_sealed(value) else value for name, value in values.items()}


def keep_redacted(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values sent, where a placeholder for a stored password stands for that password."""
    return {
        name: stored[name] if value == REDACTED and _is_sealed(stored.get(name)) else value
        for name, value in sent.items()
    }


def _is_sealed(value: Any) -> bool:
    # Parameter values are scalars and arrays, so that an object can only be ours.
    return isinstance(value, dict) and "sealed" in value


def _derive(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret_key.encode())
