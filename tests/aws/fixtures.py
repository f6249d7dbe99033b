"""One moto server for all tests of a worker that need it; each starts with an empty account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiobotocore.session import AioSession, get_session

from autoscaler.clock import ManualClock
from autoscaler.model.policy import NodeGroupPolicy
from autoscaler.providers.aws.provider import AwsProvider
from tests.aws.faulty import FaultyAws, faulty_aws
from tests.aws.moto import CLUSTER, CREDENTIALS, moto_server

NOW = 1_795_000_000.0


class World:
    """AWS, and providers that see it."""

    def __init__(self, aws: FaultyAws, clock: ManualClock, session: AioSession) -> None:
        self.aws, self.account, self.clock, self._session = aws, aws.account, clock, session

    @asynccontextmanager
    async def provider(
        self,
        *,
        tags: tuple[str, ...] = (),
        documents: tuple[NodeGroupPolicy, ...] = (),
        session: AioSession | None = None,
    ) -> AsyncIterator[AwsProvider]:
        """Give a provider that has seen nothing yet; a *session* of its own has no credentials yet either."""
        provider = AwsProvider(
            self.clock, cluster=CLUSTER, tags=tags, groups=lambda: documents, session=session or self._session
        )
        try:
            yield provider
        finally:
            await provider.aclose()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Give the address of a moto server."""
    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def aws_session() -> AioSession:
    """Give what has read botocore's descriptions of APIs once."""
    return get_session()


@pytest.fixture
async def aws(moto: str, aws_session: AioSession, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Give an empty account, with credentials and endpoint in the environment, as a pod on EKS has them."""
    clock = ManualClock(NOW)
    async with faulty_aws(moto, clock, session=aws_session) as faulty:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": faulty.url}.items():
            monkeypatch.setenv(name, value)
        yield World(faulty, clock, aws_session)
