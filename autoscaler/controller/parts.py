"""Which adapters settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from autoscaler import plugins
from autoscaler.errors import InputError
from autoscaler.interfaces import Clock, CloudProvider, ClusterReader, MetricsSource
from autoscaler.kube.client import ApiServer
from autoscaler.model.pod import Pod
from autoscaler.model.policy import NodeGroupPolicy
from autoscaler.model.snapshot import ClusterSnapshot
from autoscaler.settings import MetricsFrom, Settings

Pods = Callable[[], Sequence[Pod]]
NO_PROVIDER = "none"
DECLARATIVE = ("ack", "cluster-api", "config-connector")
"""Providers that edit the objects of another controller."""


def metrics_source(settings: Settings, api: ApiServer, clock: Clock, *, pods: Pods) -> MetricsSource:
    """
    Return where use is read from.

    Raises:
        InputError: Prometheus is asked for without an address, or a setting of it cannot be used.
    """
    from autoscaler.sources.metrics_api import MetricsApiSource
    from autoscaler.sources.scalers import Scalers

    cluster = MetricsApiSource(api, clock=clock, pods=pods, scalers=Scalers(clock))
    if settings.metrics_source is MetricsFrom.METRICS_API:
        return cluster
    if not settings.prometheus_url:
        raise InputError("--prometheus-url", "", "", "an address; or --metrics-source metrics-api to do without")
    from autoscaler.sources.prometheus import PrometheusSource
    from autoscaler.sources.settings import PrometheusSettings

    return PrometheusSource(
        PrometheusSettings(
            url=settings.prometheus_url,
            headers=_pairs(settings.prometheus_header, ":"),
            token_file=settings.prometheus_token_file,
            user=settings.prometheus_user,
            password_file=settings.prometheus_password_file,
            ca_file=settings.prometheus_ca_file,
            cert_file=settings.prometheus_cert_file,
            key_file=settings.prometheus_key_file,
            insecure=settings.prometheus_insecure,
            matchers=settings.prometheus_matcher,
            queries=dict(_pairs(settings.prometheus_query, "=")),
            resolution_seconds=settings.prometheus_resolution.seconds,
            window_seconds=settings.prometheus_window.seconds,
            slow_seconds=settings.prometheus_slow.seconds if settings.prometheus_slow is not None else None,
            timeout_seconds=settings.prometheus_timeout.seconds,
        ),
        pods=pods,
        clock=clock,
        other=cluster,
    )


def cloud_provider(
    settings: Settings, api: ApiServer, clock: Clock, *, groups: Callable[[], Sequence[NodeGroupPolicy]]
) -> CloudProvider | None:
    """
    Return who sizes node groups, None for nobody.

    A plug-in is called as our own are: `make(api, clock, groups=...)`.

    Raises:
        InputError: no provider has that name, or it cannot be loaded.
    """
    if settings.provider == NO_PROVIDER:
        return None
    if settings.provider == "kwok":
        from autoscaler.providers.kwok import KwokProvider

        return KwokProvider(api, clock, groups=groups)
    if settings.provider == "aws":
        return _aws(settings, clock, groups)
    if settings.provider in DECLARATIVE:
        from autoscaler.providers.declarative import DeclarativeProvider

        return DeclarativeProvider(settings.provider, api, clock)
    known = plugins.names(plugins.PROVIDERS)
    if settings.provider not in known:
        allowed = sorted({NO_PROVIDER, "aws", "kwok", *DECLARATIVE, *known})
        raise InputError("--provider", "", settings.provider, ", ".join(allowed))
    made: CloudProvider = plugins.load(plugins.PROVIDERS, settings.provider)(api, clock, groups=groups)
    return made


def _aws(settings: Settings, clock: Clock, groups: Callable[[], Sequence[NodeGroupPolicy]]) -> CloudProvider:
    try:
        from autoscaler.providers.aws.provider import AwsProvider
    except ModuleNotFoundError as error:
        allowed = "aws once its client is there: pip install 'podnode-autoscaler[aws]'"
        raise InputError("--provider", "", "aws", allowed) from error
    return AwsProvider(
        clock, cluster=settings.cluster_name, tags=settings.aws_tag, region=settings.aws_region, groups=groups
    )


class ListPriced:
    """A ClusterReader that prices nodes by the bundled list prices, for clusters whose nodes are not ours to size."""

    def __init__(self, cluster: ClusterReader) -> None:
        self._cluster = cluster

    async def observe(self, at: float) -> ClusterSnapshot:
        from autoscaler.providers.catalog import with_list_price

        snapshot = await self._cluster.observe(at)
        return msgspec.structs.replace(snapshot, nodes=tuple(map(with_list_price, snapshot.nodes)))


def _pairs(items: Sequence[str], sign: str) -> tuple[tuple[str, str], ...]:
    split = (item.partition(sign) for item in items)
    return tuple((name.strip(), value.strip()) for name, _, value in split)
