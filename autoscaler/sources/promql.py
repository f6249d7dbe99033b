"""
Every query we send, as text.

Instant queries group by pod (and container): who owns a pod is known from the
cluster, so that no join is needed. Their number does not depend on how many
workloads there are.

Sources: metric names and labels of cAdvisor and kube-state-metrics 2.x;
OpenTelemetry semantic conventions for HTTP metrics; Istio standard metrics;
Linkerd proxy metrics; go-grpc-prometheus.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

import msgspec

from autoscaler.sources.settings import PrometheusSettings

QUERY_LABEL = "podnode_query"
"""Tells the user queries of a union apart."""
MOST_SERIES = 2
"""As many series of a user's query are read: one is wanted, a second proves that it gives several."""
CPU_COUNTER = "container_cpu_usage_seconds_total"
WORKING_SET = "container_memory_working_set_bytes"


class Question(enum.StrEnum):
    """What one grouped query of a cycle answers."""

    CPU = "cpu"
    """Cores used by each container."""
    CPU_TIME = "cpu-time"
    """When the CPU of each pod was measured, epoch seconds."""
    MEMORY = "memory"
    """Working set of each container, bytes."""
    MEMORY_TIME = "memory-time"
    """When the memory of each pod was measured, epoch seconds."""
    MEMORY_PEAK = "memory-peak"
    """Largest working set of each pod over the window, bytes."""
    DUPLICATES = "duplicates"
    """Containers that have more than one series, and how many."""
    THROTTLED = "throttled"
    """Share of CPU periods in which each pod was throttled."""
    REQUESTS = "requests"
    """Requests a second that reach each pod."""
    SLOW_SHARE = "slow-share"
    """Share of requests of each pod that are too slow or fail."""
    LATENCY = "latency"
    """Latency quantile of each pod, seconds."""


class Convention(msgspec.Struct, frozen=True, kw_only=True):
    """
    How one family of servers counts requests, by pod.

    `requests` is a counter, `buckets` a histogram whose bounds are in `unit`
    seconds; `matchers` select what the pod serves, `good` what did not fail.
    """

    requests: str
    buckets: str
    matchers: str = ""
    good: str = ""
    unit: float = 1.0


CONVENTIONS: Mapping[str, Convention] = {
    "prometheus": Convention(
        requests="http_requests_total", buckets="http_request_duration_seconds_bucket", good='code!~"5..",status!~"5.."'
    ),
    "opentelemetry": Convention(
        requests="http_server_request_duration_seconds_count",
        buckets="http_server_request_duration_seconds_bucket",
        good='http_response_status_code!~"5.."',
    ),
    "istio": Convention(
        requests="istio_requests_total",
        buckets="istio_request_duration_milliseconds_bucket",
        matchers='reporter="destination"',
        good='response_code!~"5.."',
        unit=0.001,
    ),
    "linkerd": Convention(
        requests="response_total",
        buckets="response_latency_ms_bucket",
        matchers='direction="inbound"',
        good='classification!="failure"',
        unit=0.001,
    ),
    "grpc": Convention(
        requests="grpc_server_handled_total",
        buckets="grpc_server_handling_seconds_bucket",
        good='grpc_code!~"Internal|Unavailable|Unknown|DataLoss|DeadlineExceeded"',
    ),
}
_Part = Callable[[PrometheusSettings, Convention], str]
_SCRAPED_TWICE = "job, endpoint, service, prometheus, prometheus_replica"
"""Labels that differ where one target is scraped by two jobs or two servers."""


def selector(settings: PrometheusSettings, metric: str, *matchers: str) -> str:
    """
    Return a vector selector of this cluster's series.

    >>> selector(PrometheusSettings(url="http://p", matchers=('cluster="a"',)), "up", 'pod!=""')
    'up{pod!="",cluster="a"}'
    """
    inside = ",".join(part for part in (*matchers, *settings.matchers) if part)
    return f"{metric}{{{inside}}}"


def of_containers(settings: PrometheusSettings, metric: str, *matchers: str) -> str:
    """Return a selector of cAdvisor's series of containers, without those of pods and of the pause container."""
    return selector(settings, metric, 'container!=""', 'container!="POD"', 'pod!=""', *matchers)


def fixed_queries(settings: PrometheusSettings) -> dict[Question, str]:
    """Return the query for each question that can be asked; without `slow_seconds` nothing is slow."""
    window = seconds(settings.window_seconds)
    cpu, memory = of_containers(settings, CPU_COUNTER), of_containers(settings, WORKING_SET)
    throttled = of_containers(settings, "container_cpu_cfs_throttled_periods_total")
    periods = of_containers(settings, "container_cpu_cfs_periods_total")
    by_container = "max by (namespace, pod, container)"
    found = {
        # irate is right for new pods, too; `and` drops containers that ended within the window.
        Question.CPU: f"{by_container} (irate({cpu}[{window}]) and {cpu})",
        Question.CPU_TIME: f"min by (namespace, pod) (timestamp({cpu}))",
        Question.MEMORY: f"{by_container} ({memory})",
        Question.MEMORY_TIME: f"min by (namespace, pod) (timestamp({memory}))",
        Question.MEMORY_PEAK: f"sum by (namespace, pod) ({by_container} (max_over_time({memory}[{window}])))",
        # A container that restarted has a new id, name and perhaps image.
        Question.DUPLICATES: (f"count by (namespace, pod, container) (count without (id, name, image) ({memory})) > 1"),
        Question.THROTTLED: (
            f"sum by (namespace, pod) (rate({throttled}[{window}]))"
            f" / (sum by (namespace, pod) (rate({periods}[{window}])) > 0)"
        ),
        Question.REQUESTS: requests_query(settings, "irate", window),
        Question.LATENCY: _either(settings, _latency),
    }
    if settings.slow_seconds is not None:
        found[Question.SLOW_SHARE] = _either(settings, _slow_share)
    found |= {Question(name): text for name, text in settings.queries.items()}
    return {question: text for question, text in found.items() if text}


def union(queries: Sequence[str], first: int = 0) -> str:
    r"""
    Return one query that gives the series of all *queries*, the n-th with the label `podnode_query` at *first* + n.

    The tree is balanced: a chain of thousands would nest too deep.

    >>> union(["up"])
    'label_replace(topk(2, (up\n)), "podnode_query", "0", "", "")'
    """
    if len(queries) == 1:
        # The line break ends a comment that the query may end with.
        return f'label_replace(topk({MOST_SERIES}, ({queries[0]}\n)), "{QUERY_LABEL}", "{first}", "", "")'
    middle = len(queries) // 2
    return f"({union(queries[:middle], first)} or {union(queries[middle:], first + middle)})"


def unbalanced(query: str) -> str | None:
    """
    Return why *query* cannot be put in brackets, None where it can.

    A query that closes a bracket it did not open could answer in the name of another one.

    >>> unbalanced('sum(up{job="(a"}) # (')
    >>> unbalanced("up) or (down")
    "')' closes nothing"
    """
    opened: list[str] = []
    quote, at = "", 0
    while at < len(query):
        sign = query[at]
        if quote:
            at += sign == "\\" and quote != "`"
            quote = "" if sign == quote else quote
        elif sign in "\"'`":
            quote = sign
        elif sign == "#":
            end = query.find("\n", at)
            at = len(query) if end < 0 else end
        elif sign in _CLOSES:
            opened.append(_CLOSES[sign])
        elif sign in ")]}" and (not opened or opened.pop() != sign):
            return f"{sign!r} closes nothing"
        at += 1
    if quote:
        return f"a text that begins with {quote} does not end"
    return f"{opened[-1]!r} is missing" if opened else None


_CLOSES = {"(": ")", "[": "]", "{": "}"}


def seconds(value: float) -> str:
    """
    Return a PromQL duration.

    >>> seconds(120.0), seconds(1.5)
    ('120s', '1500ms')
    """
    return f"{int(value)}s" if value == int(value) else f"{round(value * 1000)}ms"


def bound(seconds_: float, unit: float) -> str:
    r"""
    Return a matcher for a bucket's bound however it is written: 0.5, 0.50 or 5e-01 are told apart by servers.

    >>> bound(0.5, 1.0), bound(1.0, 1.0), bound(0.25, 0.001)
    ('le=~"0\\\\.50*"', 'le=~"1(\\\\.0+)?"', 'le=~"250(\\\\.0+)?"')
    """
    text = f"{seconds_ / unit:.9f}".rstrip("0").rstrip(".")
    pattern = text.replace(".", r"\\.") + ("0*" if "." in text else r"(\\.0+)?")
    return f'le=~"{pattern}"'


def requests_query(settings: PrometheusSettings, function: str, window: str) -> str:
    """Return requests a second of each pod, by `irate` (the newest two scrapes) or `rate` (all of the window)."""
    return " or ".join(
        _requests(settings, CONVENTIONS[name], function=function, window=window) for name in settings.conventions
    )


def _either(settings: PrometheusSettings, part: _Part) -> str:
    return " or ".join(part(settings, CONVENTIONS[name]) for name in settings.conventions)


def _requests(settings: PrometheusSettings, convention: Convention, *, function: str, window: str) -> str:
    counter = selector(settings, convention.requests, 'pod!=""', convention.matchers)
    rate = f"{function}({counter}[{window}]) and {counter}"
    return f"sum by (namespace, pod) (max without ({_SCRAPED_TWICE}) ({rate}))"


def _latency(settings: PrometheusSettings, convention: Convention) -> str:
    buckets = _rate(settings, convention.buckets, 'pod!=""', convention.matchers)
    quantile = f"histogram_quantile({settings.latency_quantile:g}, sum by (namespace, pod, le) ({buckets}))"
    return quantile if convention.unit == 1.0 else f"{quantile} * {convention.unit:g}"


def _slow_share(settings: PrometheusSettings, convention: Convention) -> str:
    limit = bound(settings.slow_seconds or 0.0, convention.unit)
    good = _rate(settings, convention.buckets, 'pod!=""', limit, convention.good, convention.matchers)
    every = _rate(settings, convention.buckets, 'pod!=""', 'le="+Inf"', convention.matchers)
    by = "sum by (namespace, pod)"
    return f"clamp_min(1 - {by} ({good}) / ({by} ({every}) > 0), 0)"


def _rate(settings: PrometheusSettings, metric: str, *matchers: str) -> str:
    return f"rate({selector(settings, metric, *matchers)}[{seconds(settings.window_seconds)}])"
