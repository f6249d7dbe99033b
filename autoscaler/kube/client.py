"""
One connection to an API server: bytes in, bytes out, every status checked, every call with a time-out.

kubernetes-asyncio knows how to log in (kubeconfig, in-cluster token, exec
plug-ins); aiohttp talks. Nothing is retried here: who calls knows whether it
may be done twice.
"""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import msgspec

from autoscaler import __version__
from autoscaler.errors import AccessError, AutoscalerError, ConflictError, InputError, TransientError

CALL_SECONDS = 30.0
CONNECT_SECONDS = 5.0
RETRY_SECONDS = 1.0
"""When to try again where the server does not say."""
MOST_RETRY_SECONDS = 300.0
"""However long the server says."""
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
_LINE_BYTES = 1 << 21
"""Longest line of a watch: etcd stores objects of at most 1.5 MiB."""


class NotFoundError(ConflictError):
    """The object, or its kind, does not exist (404)."""


class AlreadyExistsError(ConflictError):
    """An object of that name exists (409, reason AlreadyExists)."""


class ExpiredError(ConflictError):
    """The resourceVersion asked for is too old (410): list anew."""


class RefusedError(InputError):
    """The server takes the call but not the value: 400, 422, and 403 by an admission plug-in (a quota, say)."""

    def __init__(self, call: str, message: str) -> None:
        super().__init__(call, "", message, "what the API server accepts")
        # What the server says names field and value, and is often long: all of it counts.
        self.args = (f"{call}: {message}",)


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] | None = None


class _Status(msgspec.Struct, frozen=True):
    """The API server's answer where it refuses (meta/v1 Status)."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None

    @property
    def text(self) -> str:
        """What is wrong; an eviction's refusal names its PodDisruptionBudget only among the causes."""
        causes = (self.details and self.details.causes) or ()
        budgets = [cause.message for cause in causes if cause.reason == "DisruptionBudget"]
        return " ".join([self.message or self.reason or "refused", *budgets])


class ApiServer:
    """
    A logged-in connection; make one with `connect`, close it with `aclose`.

    Raises (all calls): AccessError (401, 403), NotFoundError (404), ConflictError
    (409, 412), ExpiredError (410), InputError (400, 422 and other refusals),
    TransientError (429 and 5xx, with `retry_after_seconds`, and no connection).
    """

    def __init__(self, session: aiohttp.ClientSession, configuration: Any, *, namespace: str = "default") -> None:
        self._session = session
        self._configuration = configuration
        self._base = str(configuration.host).rstrip("/")
        self._server_hostname = configuration.tls_server_name or None
        self.namespace = namespace
        """Where we live: the pod's namespace, or that of the kubeconfig's context."""

    @property
    def url(self) -> str:
        """The server's address."""
        return self._base

    @classmethod
    async def connect(
        cls, *, kubeconfig: str | None = None, context: str | None = None, user_agent: str = "podnode-autoscaler"
    ) -> ApiServer:
        """
        Log in: as *kubeconfig* says, else as a pod, else as $KUBECONFIG or ~/.kube/config says.

        Raises:
            AccessError: there is no way to log in; the message says what was tried.
        """
        configuration, namespace = await _configuration(kubeconfig, context)
        connector = aiohttp.TCPConnector(limit=64, ssl=_tls(configuration), keepalive_timeout=30)
        session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": f"{user_agent}/{__version__}", "Accept": JSON},
            read_bufsize=_LINE_BYTES,
            trust_env=True,
        )
        return cls(session, configuration, namespace=namespace)

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, timeout: float = CALL_SECONDS, accept: str = JSON
    ) -> bytes:
        """Return what a GET of *path* answers."""
        return await self._call("GET", path, None, {"Accept": accept}, params=params, timeout=timeout)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        params: Mapping[str, str] | None = None,
        timeout: float = CALL_SECONDS,
    ) -> bytes:
        """Send *body* (bytes, or a value to write as JSON) and return the answer."""
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        return await self._call(method, path, data, {"Content-Type": content_type}, params=params, timeout=timeout)

    @asynccontextmanager
    async def lines(
        self, path: str, *, params: Mapping[str, str] | None = None, silence: float = 60.0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Open a streaming GET of *path* and give its lines.

        A stream that is silent for *silence* seconds, or breaks, raises
        TransientError; one that the server ends just ends. A last line without
        its line break was cut off and is not given.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            answer = await self._session.get(
                self._base + path,
                params=params,
                headers=await self._headers({}),
                timeout=limits,
                server_hostname=self._server_hostname,
            )
        except _BROKEN as error:
            raise _no_answer("GET", path, error) from error
        async with answer:
            if answer.status >= 300:
                raise _refused("GET", path, answer, await answer.read())
            yield _whole_lines(answer.content, path)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _call(
        self,
        method: str,
        path: str,
        data: bytes | None,
        headers: dict[str, str],
        *,
        params: Mapping[str, str] | None,
        timeout: float,
    ) -> bytes:
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.request(
                method,
                self._base + path,
                data=data,
                params=params,
                headers=await self._headers(headers),
                timeout=limits,
                server_hostname=self._server_hostname,
            ) as answer:
                body = await answer.read()
                if answer.status >= 300:
                    raise _refused(method, path, answer, body)
                return body
        except _BROKEN as error:
            raise _no_answer(method, path, error) from error

    async def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        for setting in (await self._configuration.auth_settings()).values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers


async def _configuration(kubeconfig: str | None, context: str | None) -> tuple[Any, str]:
    """Return kubernetes-asyncio's configuration and the namespace that goes with it."""
    # Imported here: the client package costs most of a second.
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client import Configuration

    configuration = Configuration()
    if kubeconfig is not None and not Path(kubeconfig).is_file():
        raise AccessError(f"cannot log in to a cluster with {kubeconfig}: there is no such file")
    try:
        if kubeconfig is None and context is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            return configuration, _own_namespace()
        loader = await config.load_kube_config(
            config_file=kubeconfig, context=context, client_configuration=configuration, persist_config=False
        )
    except (config.ConfigException, OSError, ssl.SSLError) as error:
        tried = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise AccessError(f"cannot log in to a cluster with {tried}: {error}") from error
    current = loader.current_context or {}
    return configuration, str(current.get("context", {}).get("namespace") or "default")


def _own_namespace() -> str:
    file = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return file.read_text(encoding="utf-8").strip() if file.is_file() else "default"


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


async def _whole_lines(content: aiohttp.StreamReader, path: str) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await content.readline()
        except (*_BROKEN, ValueError) as error:
            # readline raises ValueError for a line longer than the buffer.
            raise _no_answer("GET", path, error) from error
        if not line.endswith(b"\n"):
            return
        yield line


def _refused(method: str, path: str, answer: aiohttp.ClientResponse, body: bytes) -> AutoscalerError:
    """Return the error that says what the server's refusal means."""
    return error_of(answer.status, body, call=f"{method} {path}", headers=answer.headers)


def error_of(
    code: int, body: bytes, *, call: str, headers: Mapping[str, str] = MappingProxyType({})
) -> AutoscalerError:
    """Return the error for an HTTP status and its body, a Status object or not; also for one inside a watch."""
    try:
        status = msgspec.json.decode(body, type=_Status)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        status = _Status(message=body[:200].decode(errors="replace").strip())
    text = f"{call}: {code} {status.text}"
    if code == 401 or (code == 403 and not _by_admission(status)):
        return AccessError(text)
    if code == 404:
        return NotFoundError(text)
    if code == 410:
        return ExpiredError(text)
    if code in (409, 412):
        return AlreadyExistsError(text) if status.reason == "AlreadyExists" else ConflictError(text)
    if code == 429 or code >= 500:
        return TransientError(text, retry_after_seconds=_wait(headers))
    return RefusedError(call, f"{code} {status.text}")


def _by_admission(status: _Status) -> bool:
    """Tell whether a 403 is about the value: where the right is missing, the server names the user."""
    return status.reason == "Forbidden" and 'User "' not in status.message


def _wait(headers: Mapping[str, str]) -> float:
    """Return a Retry-After header in seconds: RFC 9110 allows a number, or a date by the server's clock."""
    asked = headers.get("Retry-After", "")
    try:
        seconds = float(asked)
    except ValueError:
        seconds = _until(asked, headers.get("Date", ""))
    return min(max(0.0, seconds), MOST_RETRY_SECONDS) if math.isfinite(seconds) else RETRY_SECONDS


def _until(then: str, now: str) -> float:
    try:
        return (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError):
        return RETRY_SECONDS


def _no_answer(method: str, path: str, error: BaseException) -> TransientError:
    said = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        said = "no answer in time"
    return TransientError(f"{method} {path}: {said}", retry_after_seconds=RETRY_SECONDS)
