"""An external crawler: a function, and the server around it."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, overload

from headwater_client.headwater import AsyncHeadwater, Headwater
from headwater_client.objects import External
from headwater_client.server.guards import Authorize, Guard
from headwater_client.server.orders import Order, OrderInvalid, read_order, require_backends
from headwater_client.server.params import Params
from headwater_client.server.registration import registering, settle, settle_awaiting
from headwater_client.server.reports import Reporter
from headwater_client.server.routes import Routes
from headwater_client.server.run import AwaitedRun, Run, ThreadRun, Tools
from headwater_client.server.runs import Runs
from headwater_client.server.schemas import schema_of
from headwater_client.server.tasks import AsyncCrawlTask, CrawlTask
from headwater_client.threads import in_thread
from headwater_client.writer import TaskWriter

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from typing_extensions import Unpack

P = TypeVar("P")

log = logging.getLogger("headwater_client.server")

_WRITER_OPTIONS = set(inspect.signature(TaskWriter).parameters) - {"endpoint", "token"}


class Options(TypedDict, total=False):
    """Options of an ``ExternalCrawler``, which explains them."""

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

    A task is closed behind the function: with 200 when it returns, with 500 and the traceback when it raises. When the
    task is stopped, deleted or retried, the function is cancelled; one that is not a coroutine function runs in a
    thread of its own, and is ended by ``TaskGone`` in its next write. One process serves a crawler.
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
        """Make a crawler that has no function yet.

        Args:
            name: of its External.
            params: a dataclass or a pydantic model; ``task.params`` is an instance. None: a dict, of whatever comes.
            schema: what documents match: a pydantic model, a dataclass (by pydantic), or a JSON Schema.
            doc_id_field: the field that holds a document's id.
            description: for people; if there is none, the beginning of the function's docstring.
            credential: ``basic`` if the source needs a user and a password, ``oauth`` if a person logs in there.
            oauth: for ``oauth``, the base URL of the service at which they do.
            oauth_parameters: handed on to its login page.
            headers: those that Headwater is to send with each call.
            secret: what Headwater must send as ``Authorization: Bearer``; ``register`` tells it.
            authorize: a function that tells of a request whether it may be made.
            backends: URLs of the Headwaters to which documents are uploaded; None is whichever the caller names.
            concurrency: how many tasks run at a time.
            waiting: how many wait at most; more are asked to come back.
            grace: seconds that runs have to come to their end when the server shuts down.
            writer: options of a ``TaskWriter``, ``max_bytes`` or ``transport``, say.

        Raises:
            NoParameter: a field of ``params`` has a type that no parameter of Headwater has.
            TypeError, ValueError: an argument is not what it should be.
        """
        options = dict(writer or {})
        if unknown := set(options) - _WRITER_OPTIONS:
            raise TypeError(f"a writer has no option {', '.join(sorted(unknown))}")
        if concurrency < 1 or waiting < 0 or grace < 0:
            raise ValueError("concurrency is 1 at least; waiting and grace are 0 at least")
        #: Of its External.
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
        self._runs: Runs[P] = Runs(self._tools.reporter, concurrency=concurrency, waiting=waiting, grace=grace)
        self._make: Callable[[Order[P]], Run[P]] | None = None
        self._docstring: str | None = None
        self._external: External | None = None
        self._strange: set[int] = set()
        self._app = Routes(self._runs, self._guard, read=self._read, begin=self._begin).app(self.lifespan)

    @overload
    def task(
        self, function: Callable[[AsyncCrawlTask[P]], Coroutine[Any, Any, None]]
    ) -> Callable[[AsyncCrawlTask[P]], Coroutine[Any, Any, None]]: ...
    @overload
    def task(self, function: Callable[[CrawlTask[P]], None]) -> Callable[[CrawlTask[P]], None]: ...
    def task(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Let a function run the tasks; it is returned as it is.

        Raises:
            TypeError: there is one already, or it is a generator.
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
        """Return the External as it is to be registered: fields as on the wire, and none that the code leaves open.

        Raises:
            TypeError: the schema cannot be made.
            ValueError: documents of the schema have no field that ``doc_id_field`` names.
        """
        schema = schema_of(self._schema)
        properties: Any = schema.get("properties") if isinstance(schema, dict) else None
        if self._doc_id_field is not None and properties and self._doc_id_field not in properties:
            raise ValueError(f"doc_id_field {self._doc_id_field!r} is not among the schema's: {', '.join(properties)}")
        description = self._description or (self._docstring or "").partition("\n\n")[0]
        meta = {"name": self.name, "description": " ".join(description.split())}
        said = {
            "meta": {name: value for name, value in meta.items() if value},
            "endpoint": endpoint,
            **self._login,
            "schema": schema,
            "docIdField": self._doc_id_field,
            "headers": {**self._headers, **self._guard.headers} or None,
            "parameters": self._params.parameters,
        }
        return {name: value for name, value in said.items() if value is not None}

    @overload
    def register(self, headwater: Headwater, endpoint: str) -> External: ...
    @overload
    def register(self, headwater: AsyncHeadwater, endpoint: str) -> Awaitable[External]: ...
    def register(self, headwater: Headwater | AsyncHeadwater, endpoint: str) -> External | Awaitable[External]:
        """Create the External of this name, or update it, from the code; if it is up to date, make no new version.

        Args:
            headwater: with a key of the scope ``write``.
            endpoint: where Headwater reaches this server.

        Raises:
            NameTaken: several Externals have this name.
            VersionMismatch: somebody else changed the same in the same moment.
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
        """Serve until SIGINT or SIGTERM; a second one waits for no run.

        Args:
            host: the address to listen on.
            port: the port to listen on.
            register: where to register once the server listens; tried until Headwater can be reached.
            endpoint: where Headwater reaches this server, if that is not ``host`` and ``port``.
            options: those of ``uvicorn.Config``.

        Raises:
            HeadwaterError, TypeError, ValueError: it cannot be registered.
        """
        from headwater_client.server import serving  # noqa: PLC0415 - uvicorn is for those who run it by this

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
        """Take tasks within this block, and end those that run at its end; for an application that mounts this one.

        Raises:
            TypeError: there is no function for tasks.
        """
        self._require_function()
        self._runs.open()
        try:
            yield
        finally:
            await self._runs.shut_down()
            self._tools.reporter.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI application."""
        await self._app(scope, receive, send)

    def _require_function(self) -> Callable[[Order[P]], Run[P]]:
        if self._make is None:
            raise TypeError(f"crawler {self.name!r} has no function for its tasks; decorate one by `@crawler.task`")
        return self._make

    def _read(self, body: bytes, version: str | None) -> Order[P]:
        try:
            return read_order(body, version, self._params, self._backends)
        except OrderInvalid as error:
            if self._external is None or version in {None, str(self._external.version)}:
                raise
            # The likely reason, and a person reads it.
            why = f"the task is of version {version} of the External, this server registered {self._external.version}"
            raise OrderInvalid(*error.messages, why) from error

    def _begin(self, order: Order[P]) -> str:
        if self._external is not None and order.version not in {None, self._external.version, *self._strange}:
            # Run all the same: what an edit has changed may be no matter for us, and what does not fit is refused by
            # the params class before, and by the schema after. An order of before an update has waited for us.
            self._strange.add(order.version or 0)
            log.warning(
                "task %s is of version %d of the External, and this server registered %d",
                *(order.fid, order.version, self._external.version),
            )
        return self._runs.begin(order, self._require_function())

    def _registered(self, external: External) -> External:
        log.info("registered as External %s %r, version %d", external.fid, self.name, external.version)
        self._external = external
        return external
