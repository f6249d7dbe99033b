"""How to reach a Prometheus-compatible back end, and what to read there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from autoscaler.errors import InputError

_WHERE = "prometheus"
_HEADER = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
_MATCHER = re.compile(r'^[a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"(?:[^"\\\n]|\\.)*"$')


class PrometheusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    One back end. Thanos, Mimir and VictoriaMetrics differ by path and header only.

    Files are read anew when they change, so that rotated secrets are used at once.
    """

    url: str
    """address of the query API, up to but without `/api/v1`"""
    prefix: str = ""
    """path between the address and `/api/v1`, if the address has none"""
    headers: tuple[tuple[str, str], ...] = ()
    """names and values sent with each query, such as a tenant's X-Scope-OrgID"""
    token_file: str = ""
    """file with a bearer token"""
    user: str = ""
    """user for basic authentication"""
    password_file: str = ""
    """file with its password"""
    ca_file: str = ""
    """certificates to trust, PEM; the system's if not given"""
    cert_file: str = ""
    """our own certificate, PEM"""
    key_file: str = ""
    """its private key, PEM"""
    insecure: bool = False
    """do not check the server's certificate"""
    timeout_seconds: float = 10.0
    """how long one query may take"""
    matchers: tuple[str, ...] = ()
    """label matchers of this cluster's series, such as `cluster="shop"`, where one back end holds several"""
    resolution_seconds: float = 30.0
    """how often containers are measured: the scrape interval of cAdvisor's metrics"""
    window_seconds: float = 120.0
    """how far back a rate may reach; four scrapes survive one that failed"""
    stale_after_seconds: float = 90.0
    """a sample older than this is Missing"""
    min_coverage: float = 0.8
    """share of a workload's Ready pods that must be measured"""
    slow_seconds: float | None = None
    """a request slower than this misses the objective; must be a bound of the histogram's buckets"""
    latency_quantile: float = 0.95
    """which quantile `Latency` is"""
    conventions: tuple[str, ...] = ("prometheus", "opentelemetry", "istio", "linkerd", "grpc")
    """how requests are counted: names of `promql.CONVENTIONS`, the first that a pod has counts"""
    queries: dict[str, str] = {}
    """own PromQL by question (a name of `promql.Question`), instead of ours"""

    @property
    def base(self) -> str:
        """The address to which `/api/v1/...` is added."""
        return "/".join(part.strip("/") for part in (self.url, self.prefix) if part.strip("/"))


def check_settings(settings: PrometheusSettings, *, questions: frozenset[str], conventions: frozenset[str]) -> None:
    """
    Raise InputError for the first field that cannot be used; it names what is allowed.

    *questions* and *conventions* are the names that `queries` and `conventions` may use.
    """
    for path, found, allowed in _problems(settings, questions, conventions):
        raise InputError(_WHERE, path, found, allowed)


def _problems(
    settings: PrometheusSettings, questions: frozenset[str], conventions: frozenset[str]
) -> Iterator[tuple[str, object, str]]:
    parts = urlsplit(settings.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        yield "url", settings.url, "an http or https address such as http://prometheus.monitoring:9090"
    for number, (name, value) in enumerate(settings.headers):
        if not _HEADER.match(name) or "\n" in value or "\r" in value:
            yield f"headers[{number}]", name, "the name of an HTTP header, and a value on one line"
    yield from _secrets(settings)
    for number, matcher in enumerate(settings.matchers):
        if not _MATCHER.match(matcher):
            yield f"matchers[{number}]", matcher, 'a PromQL label matcher such as cluster="shop"'
    for name in settings.conventions:
        if name not in conventions:
            yield "conventions", name, f"any of {', '.join(sorted(conventions))}"
    for name in settings.queries:
        if name not in questions:
            yield "queries", name, f"any of {', '.join(sorted(questions))}"
    yield from _numbers(settings)


def _secrets(settings: PrometheusSettings) -> Iterator[tuple[str, object, str]]:
    if settings.token_file and settings.user:
        yield "token_file", settings.token_file, "a token or a user, not both"
    if bool(settings.cert_file) != bool(settings.key_file):
        yield "key_file", settings.key_file, "a certificate and its key, or neither"


def _numbers(settings: PrometheusSettings) -> Iterator[tuple[str, object, str]]:
    ranges = {
        "timeout_seconds": (0.1, 300.0),
        "resolution_seconds": (0.5, 300.0),
        "window_seconds": (1.0, 3600.0),
        "stale_after_seconds": (1.0, 3600.0),
        "min_coverage": (0.0, 1.0),
        "latency_quantile": (0.0, 1.0),
    }
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and low <= value <= high):
            yield name, value, f"a number from {low:g} to {high:g}"
    if settings.window_seconds < 2 * settings.resolution_seconds:
        yield "window_seconds", settings.window_seconds, "at least two resolutions: a rate needs two samples"
    if settings.slow_seconds is not None and not 0 < settings.slow_seconds < math.inf:
        yield "slow_seconds", settings.slow_seconds, "a number above 0"
