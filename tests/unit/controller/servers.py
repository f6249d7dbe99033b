"""A server of a test's own, and the client that is connected to it."""

from __future__ import annotations

from pathlib import Path

import yaml
from aiohttp.test_utils import BaseTestServer

from autoscaler.kube.client import ApiServer


async def connected(server: BaseTestServer, folder: Path) -> ApiServer:
    """Connect to *server* as a kubeconfig, written to *folder*, says."""
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": str(server.make_url("/"))}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / "config"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return await ApiServer.connect(kubeconfig=str(file))
