"""
One list-watch: keeps a table equal to what the API server has of one resource.

The protocol is that of the Kubernetes documentation, "API concepts": list
once (streamed, or in pages), then watch from the list's resourceVersion and
resume from the last one seen; when the server no longer has it (410), list
anew. A list that is not complete is never used. Nothing here ends but by
cancellation: what fails is tried again, more and more slowly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from autoscaler.errors import AccessError, AutoscalerError, InputError, TransientError
from autoscaler.interfaces import Clock
from autoscaler.kube import decode_wire as wire
from autoscaler.kube.client import ExpiredError, NotFoundError, error_of
from autoscaler.kube.decode_read import explain

PAGE_OBJECTS = 500
WATCH_SECONDS = (10, 20)
"""How long the server is asked to keep one watch open: also the longest silence of a kind that never changes."""
SILENCE_SECONDS = 5.0
"""How much longer than asked a watch may be silent before its connection counts as dead."""
STREAMED_LIST_SECONDS = 120
HEALTHY_SECONDS = 5.0
"""A watch that ends sooner counts as failed, whatever it brought: otherwise a server in trouble is stormed."""
BACKOFF_SECONDS = (0.5, 30.0)
REFUSALS = 3
"""So many in a row mean that a permission is missing: a server that starts refuses until it has read its roles."""
LOOK_AGAIN_SECONDS = 60.0
"""How often a kind that is not installed is looked for."""
YIELD_SECONDS = 0.01
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

W = TypeVar("W", bound=wire.Any)
W_contra = TypeVar("W_contra", bound=wire.Any, contravariant=True)


class Server(Protocol):
    """The part of `client.ApiServer` that is needed here."""

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes: ...
    def lines(
        self, path: str, *, params: Mapping[str, str] | None = None, silence: float = 60.0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class Sink(Protocol[W_contra]):
    """Takes what a list-watch sees; between `begin` and `commit` it is a new list (see `table.Table`)."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def put(self, thing: W_contra) -> None: ...
    def drop(self, thing: wire.Any) -> None: ...
    def refuse(self, meta: wire.Metadata, problem: str) -> None: ...


class MalformedError(AutoscalerError):
    """The server sent what is not part of the protocol: what it sent before cannot be built on."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    next: str | None = msgspec.field(default=None, name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct, Generic[W]):
    type: str
    object: W


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Code(msgspec.Struct):
    code: int = 500


class _Name(msgspec.Struct, rename="camel"):
    """What must be readable of any object."""

    name: str = ""
    namespace: str | None = None
    resource_version: str | None = None
    annotations: dict[str, str] | None = None


class _Named(msgspec.Struct):
    metadata: _Name


_PAGE, _RAW_EVENT = msgspec.json.Decoder(_Page), msgspec.json.Decoder(_RawEvent)
_NAMED = msgspec.json.Decoder(_Named)
_CODE = msgspec.json.Decoder(_Code)
_BROKEN_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ListWatch(Generic[W]):
    """
    Keeps *sink* up to date with one resource while `run` runs.

    *tell* is called with what is wrong that time does not mend (a missing
    permission, a request that is refused), and with "" when it is right again.
    """

    def __init__(
        self,
        api: Server,
        clock: Clock,
        *,
        path: str,
        kind: type[W],
        sink: Sink[W],
        random: Random,
        tell: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self._api, self._clock, self._random = api, clock, random
        self._path, self._sink, self._tell = path, sink, tell
        self._object = msgspec.json.Decoder(kind)
        self._event = msgspec.json.Decoder(_Event[kind])  # type: ignore[valid-type]
        self._version = ""
        self._streams = True
        self._failures = 0
        self._refusals = 0
        self._problem = ""
        self.trouble = ""
        """What went wrong last, "" since a list was read."""
        self._resumed_at = 0.0
        self.is_synced = False
        """A complete list was read once, or the kind is known not to be installed."""
        self.is_installed = True
        self.is_refused = False
        """A permission is missing: that was said `REFUSALS` times in a row."""
        self.touched_at: float | None = None
        """When the server last answered (monotonic), None before it did."""
        self.lists = 0
        self.watches = 0
        self.events = 0

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                pause = 0.0 if self._failures == 0 else self._backoff()
            except AutoscalerError as error:
                pause = self._after(error)
            if pause > 0:
                await self._clock.sleep(pause)

    async def _list(self) -> None:
        """Read all objects, and go on from there."""
        self.lists += 1
        version = await self._streamed() if self._streams else ""
        version = version or await self._paged()
        self._sink.commit()
        self._version = version
        self.is_synced = self.is_installed = True
        self._allowed()
        self.trouble = ""
        self._touch()
        self._say("")

    async def _streamed(self) -> str:
        """
        Read the list as a watch and return its version; "" where the server cannot do so.

        Source: Kubernetes documentation, "API concepts", streaming lists.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "timeoutSeconds": str(STREAMED_LIST_SECONDS),
        }
        self._sink.begin()
        try:
            async with self._api.lines(self._path, params=params) as lines:
                async for line in lines:
                    kind, head = self._take(line)
                    if kind == "BOOKMARK" and INITIAL_EVENTS_END in (head.metadata.annotations or {}):
                        return head.metadata.resource_version or ""
                    await self._breathe()
        except (InputError, MalformedError):
            # Servers without the feature refuse the parameters (422), others do not know them.
            self._streams = False
            return ""
        self._streams = False
        raise TransientError(f"GET {self._path}: the list's stream ended early", retry_after_seconds=0.0)

    async def _paged(self) -> str:
        """Read the list in pages and return its version."""
        params = {"limit": str(PAGE_OBJECTS)}
        self._sink.begin()
        while True:
            body = await self._api.get(self._path, params=params)
            self._touch()
            page = self._page(body)
            for document in page.items or ():
                self._put_listed(document)
                await self._breathe()
            if not page.metadata.next:
                return page.metadata.resource_version
            params["continue"] = page.metadata.next

    def _page(self, body: bytes) -> _Page:
        try:
            page = _PAGE.decode(body)
        except _BROKEN_JSON as error:
            raise MalformedError(f"GET {self._path}: not a list: {error}") from error
        if not page.metadata.resource_version:
            raise MalformedError(f"GET {self._path}: a list without a resourceVersion")
        return page

    def _put_listed(self, document: msgspec.Raw) -> None:
        try:
            thing = self._object.decode(document)
        except _BROKEN_JSON as error:
            self._refuse(document, error)
        else:
            self._sink.put(thing)

    async def _watch(self) -> None:
        """Follow the changes until the server ends the watch."""
        self.watches += 1
        seconds = self._random.randint(*WATCH_SECONDS)
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        opened_at = self._clock.monotonic()
        async with self._api.lines(self._path, params=params, silence=seconds + SILENCE_SECONDS) as lines:
            self._allowed()
            self._touch()
            async for line in lines:
                _, head = self._take(line)
                self._version = head.metadata.resource_version or self._version
                self._touch()
                await self._breathe()
        self._touch()
        self._say("")
        lasted = self._clock.monotonic() - opened_at
        self._failures = 0 if lasted >= HEALTHY_SECONDS else self._failures + 1

    def _take(self, line: bytes) -> tuple[str, wire.Any]:
        """Hand one event to the sink; return its type and object."""
        try:
            event = self._event.decode(line)
            kind, thing = event.type, event.object
        except _BROKEN_JSON:
            return self._take_with_care(line)
        if kind == "DELETED":
            self._sink.drop(thing)
        elif kind in ("ADDED", "MODIFIED"):
            self._sink.put(thing)
        elif kind != "BOOKMARK":
            return self._take_with_care(line)
        self.events += 1
        return kind, thing

    def _take_with_care(self, line: bytes) -> tuple[str, wire.Any]:
        """
        Handle an event whose object is not of our kind: a bookmark, an error, or an object we cannot read.

        Raises:
            MalformedError: it is none of these.
            AutoscalerError: the error that the event carries; ExpiredError for 410.
        """
        try:
            event = _RAW_EVENT.decode(line)
            head = _head(event.object)
            if event.type == "ERROR":
                code = _CODE.decode(event.object).code
                raise error_of(code or 500, bytes(event.object), call=f"watch {self._path}")
        except _BROKEN_JSON as error:
            raise MalformedError(f"watch {self._path}: not an event: {line[:80]!r}") from error
        if event.type == "DELETED":
            self._sink.drop(head)
        elif event.type in ("ADDED", "MODIFIED"):
            try:
                self._object.decode(event.object)
            except _BROKEN_JSON as error:
                self._refuse(event.object, error)
        elif event.type != "BOOKMARK":
            raise MalformedError(f"watch {self._path}: unknown event {event.type[:40]!r}")
        return event.type, head

    def _refuse(self, document: msgspec.Raw, error: Exception) -> None:
        """Tell the sink of an object that has a field of the wrong type."""
        raw = bytes(document)
        try:
            meta = _head(raw).metadata
        except _BROKEN_JSON as problem:
            raise MalformedError(f"GET {self._path}: an object without readable metadata") from problem
        self._sink.refuse(meta, str(explain(raw, error)))

    def _after(self, error: AutoscalerError) -> float:
        """Return how long to pause after *error*, in seconds, and mind what it means."""
        self._failures += 1
        self.trouble = str(error)
        is_refusal = isinstance(error, AccessError)
        # An error of another kind says nothing of permissions.
        self._refusals += is_refusal
        self.is_refused = self._refusals >= REFUSALS
        if isinstance(error, NotFoundError):
            self._forget()
            return LOOK_AGAIN_SECONDS * self._random.uniform(0.75, 1.0)
        if isinstance(error, TransientError):
            return max(error.retry_after_seconds, self._backoff())
        if not is_refusal:
            # 410, a request that is refused, nonsense: what was seen so far is no ground to go on from.
            self._version = ""
        if not isinstance(error, ExpiredError) and (self.is_refused or not is_refusal):
            self._say(str(error))
        return self._backoff()

    def _allowed(self) -> None:
        self._refusals, self.is_refused = 0, False

    def _forget(self) -> None:
        """The kind is not installed: there are none."""
        self._sink.begin()
        self._sink.commit()
        self._version, self._failures = "", 0
        self.is_synced, self.is_installed = True, False
        self._touch()
        self._say("")

    def _backoff(self) -> float:
        """Return the seconds to wait after so many failures in a row, at random from half of it to all."""
        first, most = BACKOFF_SECONDS
        return min(most, first * 2.0 ** min(self._failures - 1, 16)) * self._random.uniform(0.5, 1.0)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._tell(problem)

    def _touch(self) -> None:
        self.touched_at = self._clock.monotonic()

    async def _breathe(self) -> None:
        """Let others run when this has run for a while: what is buffered is read without a pause."""
        now = self._clock.monotonic()
        if now - self._resumed_at > YIELD_SECONDS:
            await self._clock.sleep(0.0)
            self._resumed_at = self._clock.monotonic()


def _head(document: bytes | msgspec.Raw) -> wire.Any:
    """Read no more of an object than which one it is."""
    found = _NAMED.decode(document).metadata
    return wire.Any(
        metadata=wire.Metadata(
            name=found.name,
            namespace=found.namespace,
            resource_version=found.resource_version,
            annotations=found.annotations,
        )
    )


AnyListWatch = ListWatch[Any]
