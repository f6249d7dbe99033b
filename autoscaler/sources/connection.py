"""
One connection to a query API: text in, rows out, every answer checked, every call with a time-out.

Nothing is retried here: the next cycle asks anew.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections import Counter
from pathlib import Path

import aiohttp

from autoscaler import __version__
from autoscaler.errors import AccessError, AutoscalerError, InputError, TransientError
from autoscaler.sources.answers import Answered, BadAnswerError, decode_answer, error_text
from autoscaler.sources.settings import PrometheusSettings

RETRY_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
_COMPLETE = {"partial_response": "false", "deny_partial_response": "1", "nocache": "1"}
"""Thanos and VictoriaMetrics are told to fail rather than to leave out what they cannot reach; others ignore it."""


class QueryError(AutoscalerError):
    """
    The server did not answer this query. `blames_text` where its text may be
    at fault, `late` where it took too long: then the server may be, too.
    """

    def __init__(self, message: str, *, blames_text: bool, late: bool = False) -> None:
        self.blames_text, self.late = blames_text, late
        super().__init__(message)


class Connection:
    """
    Sends queries, a few at once.

    Raises (both queries): QueryError (this query cannot be answered, or not in
    time), TransientError (no answer at all, 429, 5xx), AccessError (401, 403).

    `outcomes` counts queries by what became of them.
    """

    def __init__(self, settings: PrometheusSettings, *, at_once: int = 4) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._free = asyncio.Semaphore(at_once)
        self._secrets: dict[str, tuple[float, str]] = {}
        self.outcomes: Counter[str] = Counter()

    async def query(self, text: str, *, at: float, lookback: float | None = None) -> Answered:
        """Return what an instant query answers at a time; *lookback* is how old a sample may be, seconds."""
        form = {"query": text, "time": f"{at:.3f}"}
        if lookback is not None:
            form["lookback_delta"] = f"{lookback:g}s"
        return await self._post("query", form)

    async def query_range(self, text: str, *, start: float, end: float, step: float) -> Answered:
        """Return what a range query answers, *end* included."""
        return await self._post(
            "query_range", {"query": text, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        )

    async def aclose(self) -> None:
        """Close all connections; closing twice is fine."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, call: str, form: dict[str, str]) -> Answered:
        limit = self._settings.timeout_seconds
        form |= {"timeout": f"{limit:g}s", **_COMPLETE}
        url = f"{self._settings.base}/api/v1/{call}"
        async with self._free:
            body = await self._call(url, form, limit)
        try:
            answered = decode_answer(body)
        except BadAnswerError as problem:
            raise self._count(QueryError(f"{url}: {problem}", blames_text=False)) from problem
        self.outcomes["partial" if answered.partial else "ok"] += 1
        return answered

    async def _call(self, url: str, form: dict[str, str], limit: float) -> bytes:
        try:
            async with self._open().post(
                url,
                data=form,
                headers=self._headers(),
                timeout=aiohttp.ClientTimeout(total=limit + 1.0, sock_connect=_CONNECT_SECONDS),
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise self._count(_refused(url, answer, body))
                return body
        except TimeoutError as error:
            late = QueryError(f"no answer within {limit:g} s", blames_text=True, late=True)
            raise self._count(late) from error
        except _BROKEN as error:
            said = str(error) or type(error).__name__
            raise self._count(TransientError(f"{url}: {said}", retry_after_seconds=RETRY_SECONDS)) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=_tls(self._settings), keepalive_timeout=60)
            self._session = aiohttp.ClientSession(
                connector=connector, headers={"User-Agent": f"podnode-autoscaler/{__version__}"}, trust_env=True
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        settings = self._settings
        headers = dict(settings.headers)
        if settings.token_file:
            headers["Authorization"] = f"Bearer {self._secret(settings.token_file)}"
        elif settings.user:
            password = self._secret(settings.password_file) if settings.password_file else ""
            pair = b64encode(f"{settings.user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        return headers

    def _secret(self, path: str) -> str:
        """Return what a file says, read anew when it changed."""
        try:
            changed = Path(path).stat().st_mtime
            known = self._secrets.get(path)
            if known is None or known[0] != changed:
                known = self._secrets[path] = (changed, Path(path).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise AccessError(f"prometheus: cannot read {path}: {error}") from error
        return known[1]

    def _count(self, error: AutoscalerError) -> AutoscalerError:
        names = {QueryError: "failed", TransientError: "no answer", AccessError: "refused"}
        self.outcomes[names[type(error)]] += 1
        return error


def _tls(settings: PrometheusSettings) -> ssl.SSLContext | bool:
    if not settings.url.startswith("https"):
        return True
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(file for file in (settings.ca_file, settings.cert_file, settings.key_file) if file)
        raise InputError("prometheus", "ca_file", files, f"readable PEM files ({error})") from error
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(url: str, answer: aiohttp.ClientResponse, body: bytes) -> AutoscalerError:
    said = error_text(body)
    text = f"{url}: {answer.status} {said or answer.reason or 'refused'}"
    status = answer.status
    if status in (401, 403):
        return AccessError(text)
    if status in (400, 422):
        return QueryError(said or text, blames_text=True)
    if status in (429, 500, 502, 503, 504):
        # Prometheus answers 503 both for a query that was cut off and while it starts up.
        if status == 503 and said.startswith(("timeout", "canceled")):
            return QueryError(said, blames_text=True, late=True)
        return TransientError(text, retry_after_seconds=_retry_after(answer))
    if status in (404, 301, 302, 307, 308):
        text += "; is the address's path right?"
    return TransientError(text, retry_after_seconds=60.0)


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    try:
        return min(max(float(answer.headers.get("Retry-After", "")), 0.0), 3600.0)
    except ValueError:
        return RETRY_SECONDS
