"""moto's server on loopback, and groups made in it as an operator would make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

CLUSTER = "shop"
REGION = "eu-west-1"
ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": "secret",  # moto takes any
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
DISCOVERED = {"k8s.io/cluster-autoscaler/enabled": "true", f"k8s.io/cluster-autoscaler/{CLUSTER}": "owned"}
IMAGE = "ami-12c6146b"
"""One that moto knows."""


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server in a thread; give its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Account:
    """What an operator does in the account, past all faults; inside `async with`."""

    def __init__(self, url: str, session: AioSession | None = None) -> None:
        self.url = url
        self._session = session or get_session()
        self._stack = AsyncExitStack()
        self._clients: dict[str, Any] = {}

    async def __aenter__(self) -> Account:
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def call(self, service: str, operation: str, **params: Any) -> Any:
        if service not in self._clients:
            opened = self._session.create_client(
                service,
                region_name=REGION,
                endpoint_url=self.url,
                aws_access_key_id="AKIATEST",
                aws_secret_access_key="secret",
                config=AioConfig(retries={"total_max_attempts": 1}),
            )
            self._clients[service] = await self._stack.enter_async_context(opened)
        return await self._clients[service]._make_api_call(operation, params)

    async def launch_template(self, name: str, *, kind: str = "m5.large", **data: Any) -> str:
        """Make a launch template; return its id."""
        content = {"ImageId": IMAGE, "InstanceType": kind, **data}
        made = await self.call("ec2", "CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData=content)
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    async def group(
        self,
        name: str,
        *,
        size: tuple[int, int, int] = (0, 0, 10),
        kinds: Sequence[str] = ("m5.large",),
        zones: Sequence[str] = ZONES[:1],
        tags: Mapping[str, str] = DISCOVERED,
        mixed: Mapping[str, Any] | None = None,
        template_id: str = "",
    ) -> None:
        """
        Make an Auto Scaling group of *size* (least, now, most), on a launch template of its own if none is given.

        With *mixed*, an instances distribution, it launches any of *kinds*, else the first.
        """
        template_id = template_id or await self.launch_template(f"{name}-template", kind=kinds[0])
        template = {"LaunchTemplateId": template_id, "Version": "1"}
        launches: dict[str, Any] = {"LaunchTemplate": template}
        if mixed is not None:
            overrides = [{"InstanceType": kind} for kind in kinds]
            several = {"LaunchTemplateSpecification": template, "Overrides": overrides}
            launches = {"MixedInstancesPolicy": {"LaunchTemplate": several, "InstancesDistribution": dict(mixed)}}
        least, now, most = size
        await self.call(
            "autoscaling",
            "CreateAutoScalingGroup",
            AutoScalingGroupName=name,
            MinSize=least,
            MaxSize=most,
            DesiredCapacity=now,
            AvailabilityZones=list(zones),
            Tags=[
                {
                    "Key": key,
                    "Value": value,
                    "ResourceId": name,
                    "ResourceType": "auto-scaling-group",
                    "PropagateAtLaunch": False,
                }
                for key, value in tags.items()
            ],
            **launches,
        )

    async def instances(self, name: str) -> dict[str, str]:
        """Return the zone of each instance of a group, by id."""
        answer = await self.call("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[name])
        (group,) = answer["AutoScalingGroups"]
        return {each["InstanceId"]: each["AvailabilityZone"] for each in group["Instances"]}

    async def running(self) -> set[str]:
        """Return the ids of all instances that EC2 runs."""
        return {instance for instance, state in (await self.states()).items() if state in ("pending", "running")}

    async def states(self) -> dict[str, str]:
        """Return the state of each instance that was ever launched, by id."""
        answer = await self.call("ec2", "DescribeInstances")
        found = (each for batch in answer["Reservations"] for each in batch["Instances"])
        return {each["InstanceId"]: each["State"]["Name"] for each in found}

    async def clear(self) -> None:
        """Forget everything."""
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/moto-api/reset") as answer:
            answer.raise_for_status()
