"""What handlers work with; ``app.py`` joins it, and each request finds it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from headwater.api.acquaintances import Acquaintances
from headwater.api.allowance import Allowance
from headwater.api.doctor import Doctor
from headwater.api.meters import Meters
from headwater.api.survey import Surveyor
from headwater.catalog.database import Database
from headwater.catalog.vault import Vault
from headwater.domain.schedule import Dice
from headwater.ingest.replay import Replays
from headwater.ingest.upload import Uploads
from headwater.lake.engine import Engine
from headwater.lake.store import LocalStore
from headwater.lifecycle.outbound import Outbound
from headwater.lifecycle.postman import Postman
from headwater.streams.changes import Follower
from headwater.streams.effects import Effects
from headwater.streams.erasure import Eraser
from headwater.streams.history import Historian
from headwater.streams.reading import Reader
from headwater.streams.teller import Teller

#: They share one interpreter, so that more would be no faster.
MOST_CHECKS = 2


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The floors below, as one running Headwater has them."""

    db: Database
    store: LocalStore
    engine: Engine
    uploads: Uploads
    replays: Replays
    reader: Reader
    historian: Historian
    follower: Follower
    teller: Teller
    effects: Effects
    eraser: Eraser
    outbound: Outbound
    postman: Postman
    vault: Vault
    clock: Callable[[], datetime]
    #: Where ECs reach this Headwater.
    public_url: str
    #: Seconds before each automatic retry of a task.
    retry_pauses: Sequence[float]
    dice: Dice
    allowance: Allowance
    meters: Meters
    surveyor: Surveyor
    doctor: Doctor
    #: Whether webhooks may lead to private addresses.
    is_private_allowed: bool
    acquaintances: Acquaintances = field(default_factory=Acquaintances)
    #: Checks of all documents that go on at once: others wait, so that threads are left to those who read.
    checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_CHECKS))

    def let_go(self) -> None:
        """Let those go who wait for what is to come: they would wait on."""
        self.follower.close()
        self.teller.close()


async def _parts(request: Request) -> Parts:  # asynchronous, since others are run in threads of their own
    return request.app.state.parts


Backend = Annotated[Parts, Depends(_parts)]
