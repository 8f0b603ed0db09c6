"""The secrets that an EC was sent for a task, to be redacted from what it reports."""

from typing import Any

from headwater.catalog import credentials, externals, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.vault import Vault
from headwater.domain.errors import NotFound
from headwater.domain.redaction import Redactor, leaves, secrets_of_headers, secrets_of_url
from headwater.domain.task import Task


def secrets_of(tx: Transaction, task: Task, *, vault: Vault) -> list[str]:
    """Return a task's secrets: passwords, credential, token, and the headers of its External."""
    secrets = [vault.task_token(task.fid, task.attempt), *leaves(vault.passwords_in(task.params))]
    try:
        definition = externals.definition_at(tx, task.external, task.external_version)
    except NotFound:  # deleted since
        pass
    else:
        secrets += secrets_of_headers(vault.unseal_headers(definition.headers))
        secrets += secrets_of_url(definition.endpoint or "")
    crawler = objects.find(tx, CRAWLERS, task.crawler)
    if crawler is not None and crawler.sealed_credential is not None:
        secrets += leaves(vault.unseal(crawler.sealed_credential))
    login = None if crawler is None or crawler.login is None else credentials.find(tx, crawler.login)
    if login is not None:
        kept = vault.unseal(login.sealed)
        secrets += (kept["uuid"], *leaves(kept["given"]))
    return secrets


def without_secrets(
    tx: Transaction, task: Task, report: tuple[str | None, Any], *, vault: Vault
) -> tuple[str | None, Any]:
    """Return the message and detail that a task's crawler reports, with the secrets that it was sent redacted."""
    message, detail = report
    if message is None and detail is None:
        return report
    redactor = Redactor(secrets_of(tx, task, vault=vault))
    return None if message is None else redactor.text(message), redactor.json(detail)
