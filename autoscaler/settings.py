"""
What `autoscaler run` can be told: flags and environment variables, as one value.

Each field is a flag (`prometheus_url` is `--prometheus-url`) and an
environment variable (`PODNODE_PROMETHEUS_URL`); a flag wins. The string under
a field is its help.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from autoscaler.errors import InputError
from autoscaler.mismatch import describe
from autoscaler.model.spec import Duration, decode_hook

PREFIX = "PODNODE_"
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Actuate(enum.StrEnum):
    """What becomes of a plan."""

    RECORD = "record"
    """Nothing is changed: the plan is logged, counted and published."""
    VALIDATE = "validate"
    """Each change is sent to the API server as a dry run; nothing is changed."""
    APPLY = "apply"
    """The plan is carried out, as far as the mode of each policy allows."""


class MetricsFrom(enum.StrEnum):
    PROMETHEUS = "prometheus"
    METRICS_API = "metrics-api"


class LogForm(enum.StrEnum):
    TEXT = "text"
    JSON = "json"


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that `autoscaler run` can be told; the defaults change nothing in a cluster."""

    kubeconfig: str | None = None
    """file that says how to log in; as a pod, or by $KUBECONFIG, if not given"""
    context: str | None = None
    """context of the kubeconfig; its current one if not given"""
    cluster_name: str = "cluster"
    """what this cluster is called in what is printed and recorded"""
    actuate: Actuate = Actuate.RECORD
    """record changes nothing, validate asks the API server whether it would take each change, apply makes it"""
    period: Duration = Duration("15s")
    """time from one decision to the next; pods that fit nowhere are looked at within seconds"""
    provider: str = "none"
    """who sizes node groups: ack, aws, cluster-api, config-connector, kwok, or a plug-in's name; none leaves them be"""
    aws_region: str = ""
    """AWS region of the node groups; what AWS_REGION or the profile says if not given"""
    aws_tag: tuple[str, ...] = ()
    """tag that an Auto Scaling group must have to be sized, `KEY` or `KEY=VALUE`; again for more, all must be there; \
k8s.io/cluster-autoscaler/enabled and k8s.io/cluster-autoscaler/NAME, with the cluster's name, if not given"""
    metrics_source: MetricsFrom = MetricsFrom.PROMETHEUS
    """where use is read from; metrics-api has no history, so that nothing is learned from the past"""
    policies: tuple[str, ...] = ()
    """policy file or folder, in force beside the cluster's own documents; again for more"""
    prometheus_url: str = ""
    """address of a Prometheus-compatible query API, with its path prefix if it has one"""
    prometheus_header: tuple[str, ...] = ()
    """`Name: value` to send with each query, such as a tenant's; again for more"""
    prometheus_token_file: str = ""
    """file with a bearer token, read anew when it changes"""
    prometheus_user: str = ""
    """user for basic authentication; its password comes from --prometheus-password-file"""
    prometheus_password_file: str = ""
    """file with the password for basic authentication"""
    prometheus_ca_file: str = ""
    """certificates to trust, PEM; the system's if not given"""
    prometheus_cert_file: str = ""
    """own certificate to log in with, PEM"""
    prometheus_key_file: str = ""
    """its private key, PEM"""
    prometheus_insecure: bool = False
    """do not check the server's certificate"""
    prometheus_matcher: tuple[str, ...] = ()
    """label matcher of this cluster's series, such as `cluster="shop"`, if others are in there, too; again for more"""
    prometheus_query: tuple[str, ...] = ()
    """`QUESTION=PROMQL` asks that instead of our own query; again for more"""
    prometheus_resolution: Duration = Duration("30s")
    """how often containers are measured: the scrape interval of cAdvisor's metrics"""
    prometheus_window: Duration = Duration("2m")
    """how far back a rate may reach: at least two resolutions, better four"""
    prometheus_slow: Duration | None = None
    """a request slower than this counts as slow: a bound of your histograms' buckets; none is slow if not given"""
    prometheus_timeout: Duration = Duration("10s")
    """how long one query may take"""
    leader_elect: bool = True
    """only the holder of the lease decides; switch it off only where one process can ever run"""
    lease_name: str = "podnode-autoscaler"
    """name of the lease, and of the ConfigMaps of a checkpoint"""
    lease_namespace: str = ""
    """namespace of the lease and the checkpoint; the own one if not given"""
    identity: str = ""
    """who we are in the lease; host name and process number if not given"""
    checkpoint: str = "none"
    """where memory is kept for the next start: none, file:PATH or configmap[:NAME]"""
    listen_address: str = "0.0.0.0"  # noqa: S104  (probes and scrapes come from outside the pod)
    """address for /healthz, /readyz and /metrics"""
    listen_port: Port = 8080
    """port for /healthz, /readyz and /metrics; 0 for none"""
    debug_address: str = "127.0.0.1"
    """address for /debug/record, which shows all that is known of the cluster"""
    debug_port: Port = 0
    """port for /debug/record; 0 for none"""
    webhook_address: str = "0.0.0.0"  # noqa: S104  (the API server calls from outside the pod)
    """address of the webhook that gives new pods their size"""
    webhook_port: Port = 0
    """port of that webhook; 0 for none"""
    webhook_cert_file: str = ""
    """its certificate chain, PEM"""
    webhook_key_file: str = ""
    """its private key, PEM"""
    log_level: LogLevel = LogLevel.INFO
    """least that is logged"""
    log_format: LogForm = LogForm.JSON
    """one JSON object a line, or text for people"""


def flag_of(name: str) -> str:
    """
    Return the flag of a field.

    >>> flag_of("prometheus_url")
    '--prometheus-url'
    """
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """
    Return the environment variable of a field.

    >>> variable_of("prometheus_url")
    'PODNODE_PROMETHEUS_URL'
    """
    return PREFIX + name.upper()


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """
    Return settings from the flags that were given, else environment variables, else defaults.

    A list is given in the environment with one item a line.

    Raises:
        InputError: a value is not allowed; names the flag, or the variable, and what is.
    """
    known = {field.name: field for field in msgspec.structs.fields(Settings)}
    given: dict[str, Any] = {}
    for name, field in known.items():
        if name in flags:
            where, value = flag_of(name), flags[name]
        elif environment.get(variable_of(name)):
            where = variable_of(name)
            text = environment[where]
            value = _items(text) if field.default == () else text
        else:
            continue
        given[name] = _converted(where, value, field.type)
    settings = Settings(**given)
    _check(settings)
    return settings


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.splitlines() if item.strip()]


def _converted(where: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False, dec_hook=decode_hook)
    except (msgspec.ValidationError, ValueError) as problem:
        raise InputError(where, "", value, describe(msgspec.inspect.type_info(kind))) from problem


def _check(settings: Settings) -> None:
    """Raise InputError for what is only wrong together."""
    if not 1.0 <= settings.period.seconds <= 600.0:
        raise InputError("--period", "", settings.period, "1s to 10m")
    if settings.webhook_port and not (settings.webhook_cert_file and settings.webhook_key_file):
        raise InputError(
            "--webhook-port", "", settings.webhook_port, "0, or --webhook-cert-file and --webhook-key-file with it"
        )
    if settings.prometheus_user and not settings.prometheus_password_file:
        raise InputError("--prometheus-user", "", settings.prometheus_user, "--prometheus-password-file with it")
    form, _, rest = settings.checkpoint.partition(":")
    if form not in ("none", "file", "configmap") or (form == "file") > bool(rest) or (form == "none" and rest):
        raise InputError("--checkpoint", "", settings.checkpoint, "none, file:PATH, configmap or configmap:NAME")
    for name, sign, form_of_item in (("header", ":", "`Name: value`"), ("query", "=", "`QUESTION=PROMQL`")):
        for item in getattr(settings, f"prometheus_{name}"):
            before, found, after = item.partition(sign)
            if not (before.strip() and found and after.strip()):
                raise InputError(f"--prometheus-{name}", "", item, form_of_item)
