"""
Pods, Object and External metrics, from the same APIs that the HPA reads.

One call serves all workloads of a namespace that want the same metric.

Sources: k8s.io/metrics `pkg/apis/custom_metrics`, `pkg/apis/external_metrics`,
`pkg/client/custom_metrics` (paths).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from autoscaler.errors import AutoscalerError
from autoscaler.interfaces import Clock
from autoscaler.kube.client import ApiServer, NotFoundError
from autoscaler.model.metric_query import MetricQuery, query_of
from autoscaler.model.readings import Missing, MissingReason, PodSample, PodSamples, Reading, Sample, Signal, SignalKind
from autoscaler.sources.pod_readings import Moment
from autoscaler.sources.quantities import epoch, thousandths
from autoscaler.sources.tables import FUTURE_SECONDS
from autoscaler.sources.together import together

CUSTOM_KINDS = frozenset({SignalKind.PODS_METRIC, SignalKind.OBJECT_METRIC, SignalKind.EXTERNAL_METRIC})
_CUSTOM, _EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"
_KNOWN_SECONDS = 300.0
"""How long the version of an API, or its absence, is remembered."""
_AT_ONCE = 4
_UNCOUNTED = ("endpoints",)


class _GroupVersion(msgspec.Struct, frozen=True, rename="camel"):
    group_version: str = ""


class _Group(msgspec.Struct, frozen=True, rename="camel"):
    preferred_version: _GroupVersion = _GroupVersion()


class _Described(msgspec.Struct, frozen=True, gc=False):
    name: str = ""


class _Value(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A MetricValue or an ExternalMetricValue: both have these fields, but for the window's name."""

    value: str
    timestamp: str = ""
    described_object: _Described = _Described()
    window_seconds: float | None = None
    window: float | None = None


class _Values(msgspec.Struct, frozen=True):
    items: tuple[_Value, ...]


_Call = tuple[str, str, tuple[tuple[str, str], ...]]
"""API group, path within it, and parameters."""


class CustomMetrics:
    """
    Reads custom and external metrics; what fails is Missing, each call for itself.

    Times and values go by the rules of all readings: old ones, negative ones,
    ones from the future are Missing.
    """

    def __init__(self, api: ApiServer, clock: Clock, *, timeout: float) -> None:
        self._api, self._clock, self._timeout = api, clock, timeout
        self._versions: dict[str, tuple[float, str]] = {}
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def read(self, signals: Sequence[Signal], moment: Moment, *, stale_after: float) -> dict[Signal, Reading]:
        """Return a reading for each signal; one call for all that ask the same."""
        calls: dict[_Call, list[Signal]] = {}
        for signal in signals:
            calls.setdefault(_call_of(signal), []).append(signal)
        answers = await together(self._values(call) for call in calls)
        found: dict[Signal, Reading] = {}
        for asking, values in zip(calls.values(), answers, strict=True):
            for signal in asking:
                if isinstance(values, Missing):
                    found[signal] = values
                else:
                    found[signal] = _reading(signal, values, moment, oldest=moment.at - stale_after)
        return found

    async def _values(self, call: _Call) -> tuple[_Value, ...] | Missing:
        group, path, params = call
        try:
            async with self._free:
                version = await self._version(group)
                if not version:
                    return Missing(MissingReason.ABSENT, f"the cluster has no {group} API")
                body = await self._api.get(f"/apis/{version}/{path}", params=dict(params), timeout=self._timeout)
            return msgspec.json.decode(body, type=_Values).items
        except NotFoundError as error:
            return Missing(MissingReason.ABSENT, str(error)[:300])
        except (AutoscalerError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Missing(MissingReason.FAILED, str(error)[:300])

    async def _version(self, group: str) -> str:
        """Return `group/version` as the API server prefers it, "" where the API is not installed."""
        known = self._versions.get(group)
        now = self._clock.monotonic()
        if known is None or now - known[0] > _KNOWN_SECONDS:
            try:
                body = await self._api.get(f"/apis/{group}", timeout=self._timeout)
                version = msgspec.json.decode(body, type=_Group).preferred_version.group_version
            except NotFoundError:
                version = ""
            known = self._versions[group] = (now, version)
        return known[1]


def resource_of(kind: str, api_version: str) -> str:
    """
    Return `resource.group` of a kind, guessed as the API machinery does (`meta.UnsafeGuessKindToResource`).

    >>> resource_of("Ingress", "networking.k8s.io/v1"), resource_of("Proxy", "v1"), resource_of("Service", "v1")
    ('ingresses.networking.k8s.io', 'proxies', 'services')
    """
    single = kind.lower()
    if single in _UNCOUNTED:
        plural = single
    elif single.endswith("s"):
        plural = single + "es"
    elif single.endswith("y"):
        plural = single[:-1] + "ies"
    else:
        plural = single + "s"
    group = api_version.rpartition("/")[0]
    return f"{plural}.{group}" if group else plural


def _call_of(signal: Signal) -> _Call:
    query, namespace = query_of(signal.name), signal.workload.partition("/")[0]
    if signal.kind is SignalKind.EXTERNAL_METRIC:
        return _EXTERNAL, f"namespaces/{namespace}/{query.metric}", _params("labelSelector", query)
    if signal.kind is SignalKind.PODS_METRIC:
        path = f"namespaces/{namespace}/pods/*/{query.metric}"
    elif query.kind == "Namespace":
        path = f"namespaces/{namespace}/metrics/{query.metric}"
    else:
        resource = resource_of(query.kind, query.api_version)
        path = f"namespaces/{namespace}/{resource}/{query.object}/{query.metric}"
    return _CUSTOM, path, _params("metricLabelSelector", query)


def _params(name: str, query: MetricQuery) -> tuple[tuple[str, str], ...]:
    return ((name, query.selector),) if query.selector else ()


def _reading(signal: Signal, values: Sequence[_Value], moment: Moment, *, oldest: float) -> Reading:
    """Return values in thousandths: of the workload's pods, of one object, or one for each external series."""
    mine: Mapping[str, object] | None = None
    if signal.kind is SignalKind.PODS_METRIC:
        mine = {each.pod.name: each for each in moment.pods.get(signal.workload, ())}
    samples: list[PodSample] = []
    flaw: MissingReason | None = None
    for each in values:
        name = each.described_object.name if mine is not None else ""
        if mine is not None and name not in mine:
            continue
        amount, when = thousandths(each.value), epoch(each.timestamp) or 0.0
        if isinstance(amount, MissingReason):
            flaw = amount
        elif not oldest <= when <= moment.at + FUTURE_SECONDS:
            flaw = MissingReason.STALE
        else:
            window = each.window_seconds if each.window_seconds is not None else each.window or 0.0
            samples.append(PodSample(name, amount, min(when, moment.at), window))
    return _combined(signal, tuple(samples), flaw)


def _combined(signal: Signal, samples: tuple[PodSample, ...], flaw: MissingReason | None) -> Reading:
    # A total that lacks one of its parts would be too low; of pods, each stands for itself.
    if flaw is not None and (not samples or signal.kind is not SignalKind.PODS_METRIC):
        return Missing(flaw, "a sample is negative, no number, or not fresh")
    if not samples:
        return Missing(MissingReason.ABSENT, "the API has no value for it")
    if signal.kind is not SignalKind.OBJECT_METRIC:
        names = [sample.pod for sample in samples]
        if signal.kind is SignalKind.PODS_METRIC and len(set(names)) < len(names):
            return Missing(MissingReason.DUPLICATE, "the API has two values for one pod")
        return PodSamples(samples)
    if len(samples) > 1:
        return Missing(MissingReason.DUPLICATE, "the API has several values for one object")
    return Sample(float(samples[0].value), samples[0].at, samples[0].window)
