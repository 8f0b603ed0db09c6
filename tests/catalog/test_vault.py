import pytest
from cryptography.fernet import InvalidToken

from builders import SECRET
from headwater.catalog.vault import REDACTED, Vault, keep_redacted, redact
from headwater.domain.parameter import Parameter, ParameterType

PARAMETERS = (Parameter(name="user"), Parameter(name="pass", type=ParameterType.PASSWORD))


def test_what_is_sealed_can_be_read_only_with_the_key():
    sealed = Vault(SECRET).seal({"user": "jo", "password": "hunter2"})
    assert "hunter2" not in sealed
    assert Vault(SECRET).unseal(sealed) == {"user": "jo", "password": "hunter2"}
    with pytest.raises(InvalidToken):
        Vault(SECRET + "x").unseal(sealed)


def test_a_short_secret_key_is_refused():
    with pytest.raises(ValueError, match="it needs 32"):
        Vault("short")


def test_password_parameters_are_sealed_and_the_others_are_not():
    vault = Vault(SECRET)
    stored = vault.seal_passwords(PARAMETERS, {"user": "jo", "pass": "hunter2"})
    assert stored["user"] == "jo"
    assert "hunter2" not in str(stored)
    assert redact(stored) == {"user": "jo", "pass": REDACTED}
    assert vault.unseal_passwords(stored) == {"user": "jo", "pass": "hunter2"}


def test_a_placeholder_sent_back_means_the_stored_password():
    stored = Vault(SECRET).seal_passwords(PARAMETERS, {"pass": "hunter2"})
    assert keep_redacted(stored, {"pass": REDACTED, "user": REDACTED}) == stored | {"user": REDACTED}
    assert keep_redacted(stored, {"pass": "new"}) == {"pass": "new"}


def test_each_attempt_of_each_task_has_a_token_of_its_own():
    vault = Vault(SECRET)
    tokens = {vault.task_token(task, attempt) for task in ("a", "b") for attempt in (1, 2)}
    assert len(tokens) == 4
    assert all(len(token) == 43 for token in tokens)
    assert vault.is_task_token(vault.task_token("a", 1), "a", 1)
    assert not vault.is_task_token(vault.task_token("a", 1), "a", 2)
    assert not vault.is_task_token("ü", "a", 1)
    assert not Vault(SECRET + "x").is_task_token(vault.task_token("a", 1), "a", 1)
