"""The vault: encrypts secrets before they are stored, and derives task tokens, which are not stored."""

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

from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.parameter import Parameter, ParameterType
from headwater.domain.redaction import REDACTED
from headwater.domain.schema import json_pointer

#: Minimum length of a secret key, in characters.
SHORTEST_SECRET = 32


def new_secret() -> str:
    """Return a new secret key."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return the hash under which an API key is stored."""
    return sha256(secret.encode()).hexdigest()


class Vault:
    """Encrypts with a key derived from the settings' secret (Fernet: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, secret_key: str) -> None:
        """Derive one key for each purpose.

        Raises:
            ValueError: the secret is too short to protect anything.
        """
        if len(secret_key) < SHORTEST_SECRET:
            raise ValueError(f"the secret key has {len(secret_key)} characters; it needs {SHORTEST_SECRET} random ones")
        self._sealing = Fernet(base64.urlsafe_b64encode(_derive(secret_key, b"headwater sealing")))
        self._tokens = _derive(secret_key, b"headwater task tokens")
        #: Identifies this secret key, and reveals nothing else about it.
        self.check_value = _derive(secret_key, b"headwater check value").hex()

    def seal(self, value: Any) -> str:
        """Return any JSON value encrypted as text."""
        return self._sealing.encrypt(json.dumps(value).encode()).decode()

    def unseal(self, sealed: str) -> Any:
        """Return the decrypted value.

        Raises:
            cryptography.fernet.InvalidToken: it was encrypted with another secret key.
        """
        return json.loads(self._sealing.decrypt(sealed.encode()))

    def seal_passwords(self, parameters: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with those of password parameters encrypted."""
        passwords = {parameter.name for parameter in parameters if parameter.type is ParameterType.PASSWORD}
        return {
            name: {"sealed": self.seal(value)} if name in passwords and value is not None else value
            for name, value in values.items()
        }

    def unseal_passwords(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with passwords decrypted, for the EC."""
        return {name: self.unseal(value["sealed"]) if _is_sealed(value) else value for name, value in values.items()}

    def passwords_in(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the encrypted parameter values, decrypted."""
        return [self.unseal(value["sealed"]) for value in values.values() if _is_sealed(value)]

    def seal_headers(self, headers: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return an External's headers with each value encrypted; unchanged ones keep their stored form."""
        sealed = {name: value if _is_sealed(value) else {"sealed": self.seal(value)} for name, value in headers.items()}
        return self.keep_seals(stored, sealed)

    def unseal_headers(self, headers: Mapping[str, Any]) -> dict[str, str]:
        """Return an External's headers decrypted, for its EC."""
        return self.unseal_passwords(headers)

    def keep_seals(self, stored: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values; an encrypted one that is unchanged keeps its stored form, so that the row is unchanged."""
        return {
            name: stored[name]
            if _is_sealed(value)
            and _is_sealed(stored.get(name))
            and self.unseal(value["sealed"]) == self.unseal(stored[name]["sealed"])
            else value
            for name, value in values.items()
        }

    def task_token(self, task: str, attempt: int) -> str:
        """Return the token of one attempt of a task.

        It is derived, so that it is not stored, not even hashed, and that a repeated start sends the same
        token.
        """
        mac = hmac.digest(self._tokens, f"{task}:{attempt}".encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def is_task_token(self, token: str, task: str, attempt: int) -> bool:
        """Return, in constant time, whether ``token`` is that of the attempt."""
        return hmac.compare_digest(token.encode(), self.task_token(task, attempt).encode())


def redact(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameter values with a placeholder for each encrypted one."""
    return {name: REDACTED if _is_sealed(value) else value for name, value in values.items()}


def keep_redacted(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values sent, with each placeholder replaced by the stored password."""
    return {
        name: stored[name] if value == REDACTED and _is_sealed(stored.get(name)) else value
        for name, value in sent.items()
    }


def keep_redacted_headers(stored: Mapping[str, Any], sent: Mapping[str, str]) -> dict[str, Any]:
    """Return the headers sent, with each placeholder replaced by the stored value; names ignore case.

    Raises:
        RequestInvalid: there is no stored value for a placeholder.
    """
    by_name = {name.lower(): value for name, value in stored.items()}
    lost = [name for name, value in sent.items() if value == REDACTED and name.lower() not in by_name]
    if lost:
        detail = f"there is no stored value that {REDACTED!r} could stand for; send the value itself"
        raise RequestInvalid(
            f"header {lost[0]!r}: {detail}",
            flaws=[Flaw(pointer=json_pointer(["headers", name]), detail=detail) for name in lost],
        )
    return {name: by_name[name.lower()] if value == REDACTED else value for name, value in sent.items()}


def _is_sealed(value: Any) -> bool:
    # Parameter values are scalars and arrays, so that an object can only be an encrypted value.
    return isinstance(value, dict) and "sealed" in value


def _derive(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret_key.encode())
