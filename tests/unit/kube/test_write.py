"""Writes to a server that misbehaves as a real one cannot be made to; see also `tests/integration/test_write.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.errors import AccessError, AutoscalerError, ConflictError, InputError, TransientError
from autoscaler.kube.client import ApiServer
from autoscaler.kube.write import KubeWriter
from tests.unit.kube.scripted_api import kubeconfig_of

WEB = "shop/Deployment/web"
TAKEN, TAKEN_AND_LOST, CUT = "taken", "taken and lost", "cut"
Answer = tuple[int, str, dict[str, str]] | str


class OneScale:
    """Keeps the scale of one workload; *answers* says what becomes of each write, the last one again and again."""

    def __init__(self) -> None:
        self.replicas, self.version, self.tries = 2, 1, 0
        self.answers: list[Answer] = [TAKEN]

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"metadata": {"resourceVersion": str(self.version)}, "spec": {"replicas": self.replicas}}
        )

    async def patch(self, request: web.Request) -> web.StreamResponse:
        self.tries += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body: Any = await request.json()
        if not isinstance(answer, str):
            code, message, headers = answer
            # Somebody else writes all the time: its controller, say.
            self.version += 1
            status = {"kind": "Status", "code": code, "message": message}
            return web.json_response(status, status=code, headers=headers)
        if answer != CUT:
            assert body["metadata"]["resourceVersion"] == str(self.version)
            self.replicas, self.version = body["spec"]["replicas"], self.version + 1
        if answer != TAKEN:
            assert request.transport is not None
            request.transport.close()
        return web.json_response({})


@pytest.fixture
def scale() -> OneScale:
    return OneScale()


@pytest.fixture
async def writer(scale: OneScale, tmp_path: Path) -> AsyncIterator[KubeWriter]:
    application = web.Application()
    path = "/apis/apps/v1/namespaces/shop/deployments/web/scale"
    application.router.add_get(path, scale.get)
    application.router.add_patch(path, scale.patch)
    async with TestServer(application) as server:
        api = await ApiServer.connect(kubeconfig=kubeconfig_of(tmp_path, str(server.make_url("/"))))
        yield KubeWriter(api)
        await api.aclose()


async def test_who_is_slower_reads_anew_and_tries_again(scale: OneScale, writer: KubeWriter) -> None:
    scale.answers = [(409, "it was changed", {}), (409, "it was changed", {}), TAKEN]
    await writer.scale(WEB, 5, expected=2)
    assert (scale.replicas, scale.tries) == (5, 3)


async def test_who_is_always_slower_gives_up(scale: OneScale, writer: KubeWriter) -> None:
    scale.answers = [(409, "it was changed", {})]
    with pytest.raises(ConflictError, match="it was changed"):
        await writer.scale(WEB, 5, expected=2)
    assert (scale.replicas, scale.tries) == (2, 4)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        pytest.param((429, "too many", {"Retry-After": "7"}), TransientError, "too many", id="too-many-requests"),
        pytest.param((503, "no leader", {}), TransientError, "no leader", id="etcd-without-a-leader"),
        pytest.param((404, "gone", {}), ConflictError, "gone", id="gone-meanwhile"),
        pytest.param((422, "spec.replicas: bad", {}), InputError, r"spec\.replicas: bad", id="refused"),
        pytest.param((403, 'User "x" cannot patch', {}), AccessError, "cannot patch", id="no-right"),
        pytest.param(CUT, TransientError, "PATCH", id="the-connection-breaks"),
    ],
)
async def test_a_write_that_fails_is_tried_once_and_says_why(
    scale: OneScale, writer: KubeWriter, answer: Answer, error: type[AutoscalerError], said: str
) -> None:
    scale.answers = [answer]
    with pytest.raises(error, match=said) as failed:
        await writer.scale(WEB, 5, expected=2)
    assert (scale.replicas, scale.tries) == (2, 1)
    if isinstance(failed.value, TransientError):
        assert failed.value.retry_after_seconds == (7.0 if "too many" in said else 1.0)


async def test_a_write_whose_answer_is_lost_can_be_repeated(scale: OneScale, writer: KubeWriter) -> None:
    scale.answers = [TAKEN_AND_LOST, TAKEN]
    with pytest.raises(TransientError):
        await writer.scale(WEB, 5, expected=2)
    await writer.scale(WEB, 5, expected=2)
    assert (scale.replicas, scale.tries) == (5, 1)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        pytest.param("web", "namespace/Kind/name", id="no-key"),
        pytest.param("shop/Rollout/web", "Deployment, StatefulSet", id="an-unknown-kind"),
    ],
)
async def test_what_cannot_be_found_is_bad_input(writer: KubeWriter, key: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        await writer.scale(key, 5, expected=2)


async def test_a_pod_s_key_has_two_parts(writer: KubeWriter) -> None:
    for call in (writer.resize_pod("web", []), writer.evict("shop/Pod/web", uid="")):
        with pytest.raises(InputError, match="namespace/name"):
            await call
