"""``ExternalCrawler``: serves a crawl function as an ASGI application that Headwater calls."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, overload

from headwater_client.headwater import AsyncHeadwater, Headwater
from headwater_client.models.objects import External
from headwater_client.server.guards import Authorize, Guard
from headwater_client.server.params import Params
from headwater_client.server.queue import RunQueue
from headwater_client.server.registration import registering, settle, settle_awaiting
from headwater_client.server.reports import Reporter
from headwater_client.server.routes import Routes
from headwater_client.server.run import AwaitedRun, Run, ThreadRun, Tools
from headwater_client.server.schemas import schema_of
from headwater_client.server.start_request import (
    StartRequest,
    StartRequestInvalid,
    read_start_request,
    require_backends,
)
from headwater_client.server.tasks import AsyncCrawlTask, CrawlTask
from headwater_client.threads import in_thread
from headwater_client.writer import TaskWriter

if TYPE_CHECKING:
    from typing import Unpack

    from starlette.types import Receive, Scope, Send

P = TypeVar("P")

log = logging.getLogger("headwater_client.server")

_WRITER_OPTIONS = set(inspect.signature(TaskWriter).parameters) - {"endpoint", "token"}


class Options(TypedDict, total=False):
    """Options of ``ExternalCrawler``; documented there."""

    schema: Any
    doc_id_field: str | None
    description: str | None
    credential: str | None
    oauth: str | None
    oauth_parameters: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    secret: str | None
    authorize: Authorize | None
    backends: Sequence[str] | None
    concurrency: int
    waiting: int
    grace: float
    writer: Mapping[str, Any] | None


class ExternalCrawler(Generic[P]):
    """A crawler that Headwater starts: an ASGI application around a function.

    ::

        crawler = ExternalCrawler("Book prices", params=Shop, schema=Book, doc_id_field="isbn")

        @crawler.task
        async def crawl(task):
            async for book in books(task.params.shop):
                await task.write(book)

        crawler.run(port=9000)

    When the function returns, its task is closed with 200; when it raises, with 500 and the traceback. When the task is
    stopped, deleted or retried, a coroutine function is cancelled. Any other function runs in a thread of its own, and
    its next write raises ``TaskGone``. A crawler must be served by a single process.
    """

    @overload
    def __init__(
        self: ExternalCrawler[dict[str, Any]], name: str, *, params: None = None, **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(self, name: str, *, params: type[P], **options: Unpack[Options]) -> None: ...
    def __init__(
        self,
        name: str,
        *,
        params: type[Any] | None = None,
        schema: Any = None,
        doc_id_field: str | None = None,
        description: str | None = None,
        credential: str | None = None,
        oauth: str | None = None,
        oauth_parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
        authorize: Authorize | None = None,
        backends: Sequence[str] | None = None,
        concurrency: int = 4,
        waiting: int = 100,
        grace: float = 5.0,
        writer: Mapping[str, Any] | None = None,
    ) -> None:
        """Create a crawler without a function; add one by ``@crawler.task``.

        Args:
            name: the External's name.
            params: a dataclass or a pydantic model; ``task.params`` is an instance. None: an unchecked dict.
            schema: schema of the documents: a pydantic model, a dataclass (by pydantic), or a JSON Schema.
            doc_id_field: the field that holds a document's id.
            description: the External's description; by default the first paragraph of the function's docstring.
            credential: ``basic`` if the source needs a user and a password, ``oauth`` if a person logs in there.
            oauth: for ``oauth``, the base URL of the login service.
            oauth_parameters: passed to its login page.
            headers: headers that Headwater sends with each call.
            secret: bearer token that Headwater must send; ``register`` sets it in the External's headers.
            authorize: a function that decides whether a request is accepted.
            backends: URLs of the Headwater servers that may receive documents; None: any that the caller names.
            concurrency: maximum number of concurrent tasks.
            waiting: maximum number of queued tasks; beyond it, the answer is 503 with ``Retry-After``.
            grace: seconds that running tasks have to finish on shutdown.
            writer: options of each task's ``TaskWriter``, such as ``max_bytes`` or ``transport``.

        Raises:
            NoParameter: a field of ``params`` has a type that Headwater's parameters do not support.
            TypeError, ValueError: an argument is invalid.
        """
        options = dict(writer or {})
        if unknown := set(options) - _WRITER_OPTIONS:
            raise TypeError(f"a writer has no option {', '.join(sorted(unknown))}")
        if concurrency < 1 or waiting < 0 or grace < 0:
            raise ValueError("concurrency is 1 at least; waiting and grace are 0 at least")
        #: The External's name.
        self.name = name
        self._params: Params[Any] = Params(params)
        self._schema = schema
        self._doc_id_field = doc_id_field
        self._description = description
        self._login = {"credential": credential, "oauth": oauth, "oauthParameters": oauth_parameters}
        self._headers = dict(headers or {})
        self._guard = Guard(secret, authorize)
        self._backends = None if backends is None else require_backends(backends)
        self._tools = Tools(options, Reporter(options.get("transport")))
        self._runs: RunQueue[P] = RunQueue(self._tools.reporter, concurrency=concurrency, waiting=waiting, grace=grace)
        self._make: Callable[[StartRequest[P]], Run[P]] | None = None
        self._docstring: str | None = None
        self._external: External | None = None
        self._warned_versions: set[int] = set()
        self._app = Routes(self._runs, self._guard, read=self._read, begin=self._begin).app(self.lifespan)

    @overload
    def task(
        self, function: Callable[[AsyncCrawlTask[P]], Coroutine[Any, Any, None]]
    ) -> Callable[[AsyncCrawlTask[P]], Coroutine[Any, Any, None]]: ...
    @overload
    def task(self, function: Callable[[CrawlTask[P]], None]) -> Callable[[CrawlTask[P]], None]: ...
    def task(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Decorator: set the function that crawls a task; returns it unchanged.

        Raises:
            TypeError: there already is one, or it is a generator.
        """
        if self._make is not None:
            raise TypeError(f"crawler {self.name!r} has a function for its tasks already")
        call: Any = getattr(function, "__call__", None)  # noqa: B004 - of an object that is called like a function
        if any(map(inspect.isgeneratorfunction, (function, call))) or any(
            map(inspect.isasyncgenfunction, (function, call))
        ):
            raise TypeError(f"{function!r} yields; a task's documents are written: `await task.write(document)`")
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
            self._make = lambda order: AwaitedRun(order, self._tools, function)
        else:
            self._make = lambda order: ThreadRun(order, self._tools, function)
        self._docstring = inspect.getdoc(function) if inspect.isroutine(function) else None
        return function

    def definition(self, endpoint: str) -> dict[str, Any]:
        """Return the External's fields for registration, named as on the wire; unset fields are omitted.

        Raises:
            TypeError: the schema cannot be generated.
            ValueError: the schema has no property named by ``doc_id_field``.
        """
        schema = schema_of(self._schema)
        properties: Any = schema.get("properties") if isinstance(schema, dict) else None
        if self._doc_id_field is not None and properties and self._doc_id_field not in properties:
            raise ValueError(f"doc_id_field {self._doc_id_field!r} is not among the schema's: {', '.join(properties)}")
        description = self._description or (self._docstring or "").partition("\n\n")[0]
        meta = {"name": self.name, "description": " ".join(description.split())}
        fields = {
            "meta": {name: value for name, value in meta.items() if value},
            "endpoint": endpoint,
            **self._login,
            "schema": schema,
            "docIdField": self._doc_id_field,
            "headers": {**self._headers, **self._guard.headers} or None,
            "parameters": self._params.parameters,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @overload
    def register(self, headwater: Headwater, endpoint: str) -> External: ...
    @overload
    def register(self, headwater: AsyncHeadwater, endpoint: str) -> Awaitable[External]: ...
    def register(self, headwater: Headwater | AsyncHeadwater, endpoint: str) -> External | Awaitable[External]:
        """Create or update the External of this name; if it is up to date, no new version is created.

        Args:
            headwater: a client whose key has the scope ``write``.
            endpoint: URL at which Headwater reaches this server.

        Raises:
            NameTaken: several Externals have this name, or one without a server.
            VersionMismatch: the same fields were changed concurrently.
            HeadwaterError: it cannot be registered.
        """
        registration = registering(self.definition(endpoint))
        if isinstance(headwater, Headwater):
            return self._registered(settle(registration, headwater.externals))

        async def register() -> External:
            return self._registered(await settle_awaiting(registration, headwater.externals))

        return register()

    def run(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 9000,
        register: Headwater | AsyncHeadwater | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> None:
        """Serve until SIGINT or SIGTERM; a second signal does not wait for running tasks.

        Args:
            host: the address to listen on.
            port: the port to listen on.
            register: client with which to register once the server listens; retried until Headwater is reachable.
            endpoint: URL at which Headwater reaches this server, if not ``host`` and ``port``.
            options: options of ``uvicorn.Config``.

        Raises:
            HeadwaterError, TypeError, ValueError: it cannot be registered.
        """
        from headwater_client.server import serving  # noqa: PLC0415 - uvicorn is needed only here

        there = endpoint or serving.endpoint_of(host, port)
        if register is not None and there is None:
            raise ValueError(f"{host} is no address to reach the server at; say by `endpoint` where Headwater does")
        if self._guard.is_open and self._backends is None and not serving.is_loopback(host):
            log.warning("whoever reaches %s:%d can start tasks, and say where they upload; set a secret", host, port)

        async def register_there() -> None:
            if isinstance(register, Headwater):
                blocking: Headwater = register
                await in_thread(lambda: self.register(blocking, there or ""), name="register")
            elif register is not None:
                await self.register(register, there or "")

        serving.serve(
            self,
            {"host": host, "port": port, **options},
            hurry=self._runs.hurry,
            register=None if register is None else register_there,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncGenerator[None, None]:
        """Accept tasks within this block, and shut down at its end; for an application that mounts this one.

        Raises:
            TypeError: no function was set.
        """
        self._require_function()
        self._runs.open()
        try:
            yield
        finally:
            await self._runs.shut_down()
            self._tools.reporter.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, as an ASGI application."""
        await self._app(scope, receive, send)

    def _require_function(self) -> Callable[[StartRequest[P]], Run[P]]:
        if self._make is None:
            raise TypeError(f"crawler {self.name!r} has no function for its tasks; decorate one by `@crawler.task`")
        return self._make

    def _read(self, body: bytes, version: str | None) -> StartRequest[P]:
        try:
            return read_start_request(body, version, self._params, self._backends)
        except StartRequestInvalid as error:
            if self._external is None or version in {None, str(self._external.version)}:
                raise
            # The likely reason.
            why = f"the task is of version {version} of the External, this server registered {self._external.version}"
            raise StartRequestInvalid(*error.messages, why) from error

    def _begin(self, order: StartRequest[P]) -> str:
        if self._external is not None and order.version not in {None, self._external.version, *self._warned_versions}:
            # Run it nevertheless: the edit may not affect this crawler; params were validated, and documents will be.
            # The task may also have been queued before an update.
            self._warned_versions.add(order.version or 0)
            log.warning(
                "task %s is of version %d of the External, and this server registered %d",
                *(order.fid, order.version, self._external.version),
            )
        return self._runs.begin(order, self._require_function())

    def _registered(self, external: External) -> External:
        log.info("registered as External %s %r, version %d", external.fid, self.name, external.version)
        self._external = external
        return external
