"""How each component of the development cluster is started: its files and its flags."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from tests.cluster.certificates import write_certificates

KUBECONFIG = "kubeconfig"
"""The administrator's, within the cluster's folder."""
AUDIT_LOG = "logs/audit.log"
MANIFESTS = Path(__file__).parent / "manifests"
USERS = ("admin", "system:kube-controller-manager", "system:kube-scheduler", "kwok", "emulator")
"""Who has a token; each is in system:masters, under its own name so that the audit log tells them apart."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What may differ from one cluster to the next; durations in seconds."""

    metrics: bool = True
    """Run the emulator, the metrics API and Prometheus."""
    scrape_seconds: float = 1.0
    hpa_sync_seconds: float = 2.0
    hpa_downscale_stabilization_seconds: float = 5.0
    hpa_cpu_initialization_seconds: float = 5.0
    hpa_readiness_delay_seconds: float = 2.0
    node_grace_seconds: float = 300.0
    """Without a heartbeat until a node counts as not ready."""
    request_seconds: float = 60.0
    """What the API server gives one request; watches are not bound by it."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are: the cluster's own folder, its ports and programs by name."""

    folder: Path
    ports: Mapping[str, int]
    programs: Mapping[str, Path]
    options: Options

    @property
    def kubeconfig(self) -> Path:
        return self.folder / KUBECONFIG

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def audit_log(self) -> Path:
        return self.folder / AUDIT_LOG

    def url(self, component: str) -> str:
        """Return the address of a component: HTTPS for what is Kubernetes', plain HTTP for the rest."""
        scheme = "http" if component in ("etcd", "etcd-peer", "prometheus", "emulator") else "https"
        return f"{scheme}://127.0.0.1:{self.ports[component]}"

    def kubeconfig_of(self, user: str) -> Path:
        """Return the kubeconfig of one of `USERS`."""
        return self.kubeconfig if user == "admin" else self.folder / f"{user.rpartition(':')[2]}.kubeconfig"


def write_files(layout: Layout) -> None:
    """Make certificates, tokens, kubeconfigs, and what Prometheus and the emulator need to know."""
    (layout.folder / "logs").mkdir()
    write_certificates(layout.folder)
    tokens = {user: secrets.token_hex(16) for user in USERS}
    rows = "".join(f'{token},{user},{user},"system:masters"\n' for user, token in tokens.items())
    (layout.folder / "tokens.csv").write_text(rows, encoding="utf-8")
    for user, token in tokens.items():
        write_kubeconfig(layout, layout.kubeconfig_of(user), user=user, token=token)
    setup = {
        "kubeconfig": str(layout.kubeconfig_of("emulator")),
        "port": layout.ports["emulator"],
        "metrics_api_port": layout.ports["metrics-api"],
    }
    (layout.folder / "emulator.json").write_bytes(msgspec.json.encode(setup))
    (layout.folder / "prometheus.yaml").write_text(yaml.safe_dump(_scraping(layout)), encoding="utf-8")


def write_kubeconfig(layout: Layout, path: Path, *, user: str, token: str, namespace: str = "default") -> None:
    """Write a kubeconfig that needs no other file."""
    authority = base64.b64encode(layout.authority.read_bytes()).decode()
    cluster = {"server": layout.url("kube-apiserver"), "certificate-authority-data": authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "development", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [
            {"name": "development", "context": {"cluster": "development", "user": user, "namespace": namespace}}
        ],
        "current-context": "development",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def command_of(component: str, layout: Layout) -> list[str]:
    """Return the command line that starts *component*."""
    flags = {
        "etcd": _etcd,
        "kube-apiserver": _api_server,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "kwok": _kwok,
        "prometheus": _prometheus,
    }[component](layout)
    return [str(layout.programs[component]), *(f"--{name}={value}" for name, value in flags.items())]


def _etcd(layout: Layout) -> dict[str, str]:
    peers = layout.url("etcd-peer")
    return {
        "name": "development",
        "data-dir": str(layout.folder / "etcd"),
        "listen-client-urls": layout.url("etcd"),
        "advertise-client-urls": layout.url("etcd"),
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"development={peers}",
        # What a crash loses goes away with the folder anyway.
        "unsafe-no-fsync": "true",
        "quota-backend-bytes": str(8 << 30),
        "log-level": "warn",
    }


def _api_server(layout: Layout) -> dict[str, str]:
    folder = layout.folder
    key = str(folder / "service-accounts.key")
    return {
        "etcd-servers": layout.url("etcd"),
        **_serving("kube-apiserver", layout),
        "advertise-address": "127.0.0.1",
        "client-ca-file": str(layout.authority),
        "token-auth-file": str(folder / "tokens.csv"),
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-cluster-ip-range": "10.96.0.0/16",
        # Endpoints may not hold a loopback address, so nobody keeps those of the API server.
        "endpoint-reconciler-type": "none",
        "requestheader-client-ca-file": str(layout.authority),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": str(folder / "front-proxy.crt"),
        "proxy-client-key-file": str(folder / "front-proxy.key"),
        "audit-policy-file": str(MANIFESTS / "audit.yaml"),
        "audit-log-path": str(layout.audit_log),
        "audit-log-maxsize": "0",
        "request-timeout": f"{layout.options.request_seconds:g}s",
        "max-requests-inflight": "2000",
        "max-mutating-requests-inflight": "1000",
    }


def _controller_manager(layout: Layout) -> dict[str, str]:
    options = layout.options
    return {
        **_client("system:kube-controller-manager", layout),
        **_serving("kube-controller-manager", layout),
        "service-account-private-key-file": str(layout.folder / "service-accounts.key"),
        "root-ca-file": str(layout.authority),
        "controllers": "*,-nodeipam,-ttl,-bootstrapsigner,-tokencleaner",
        "allocate-node-cidrs": "false",
        "node-monitor-grace-period": f"{options.node_grace_seconds:g}s",
        "concurrent-deployment-syncs": "10",
        "concurrent-replicaset-syncs": "20",
        "horizontal-pod-autoscaler-sync-period": f"{options.hpa_sync_seconds:g}s",
        "horizontal-pod-autoscaler-downscale-stabilization": f"{options.hpa_downscale_stabilization_seconds:g}s",
        "horizontal-pod-autoscaler-initial-readiness-delay": f"{options.hpa_readiness_delay_seconds:g}s",
        "horizontal-pod-autoscaler-cpu-initialization-period": f"{options.hpa_cpu_initialization_seconds:g}s",
    }


def _scheduler(layout: Layout) -> dict[str, str]:
    return {**_client("system:kube-scheduler", layout), **_serving("kube-scheduler", layout)}


def _kwok(layout: Layout) -> dict[str, str]:
    return {
        "kubeconfig": str(layout.kubeconfig_of("kwok")),
        "config": str(MANIFESTS / "kwok.yaml"),
        "manage-all-nodes": "false",
        "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake",
        "node-ip": "127.0.0.1",
        "node-port": str(layout.ports["kwok"]),
        "server-address": f"127.0.0.1:{layout.ports['kwok']}",
        "tls-cert-file": str(layout.folder / "server.crt"),
        "tls-private-key-file": str(layout.folder / "server.key"),
        "cidr": "10.0.0.0/8",
        # With leases kwok skips pods that are bound before it sees its own lease on the node, for good.
        "node-lease-duration-seconds": "0",
    }


def _prometheus(layout: Layout) -> dict[str, str]:
    return {
        "config.file": str(layout.folder / "prometheus.yaml"),
        "storage.tsdb.path": str(layout.folder / "prometheus"),
        "storage.tsdb.retention.time": "1d",
        "web.listen-address": f"127.0.0.1:{layout.ports['prometheus']}",
        "log.level": "warn",
    }


def _serving(component: str, layout: Layout) -> dict[str, str]:
    return {
        "bind-address": "127.0.0.1",
        "secure-port": str(layout.ports[component]),
        "tls-cert-file": str(layout.folder / "server.crt"),
        "tls-private-key-file": str(layout.folder / "server.key"),
    }


def _client(user: str, layout: Layout) -> dict[str, str]:
    """Return the flags of a component that talks to the API server as *user*, alone of its kind."""
    kubeconfig = str(layout.kubeconfig_of(user))
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "leader-elect": "false",
        "kube-api-qps": "2000",
        "kube-api-burst": "4000",
    }


def _scraping(layout: Layout) -> dict[str, object]:
    target = f"127.0.0.1:{layout.ports['emulator']}"
    return {
        "global": {"scrape_interval": f"{layout.options.scrape_seconds:g}s"},
        # The emulator speaks for the pods: their own labels are the ones that count.
        "scrape_configs": [{"job_name": "emulator", "honor_labels": True, "static_configs": [{"targets": [target]}]}],
    }
