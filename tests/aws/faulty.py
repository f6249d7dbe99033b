"""
A proxy in front of moto's server that does what AWS does and moto does not, and breaks what a test wants broken.

It grants what the shipped IAM policy grants and nothing else, keeps sizes
within bounds, takes a launch for which there is no capacity and tells of it in
the group's activities, and shows instances as they start and end.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiobotocore.session import AioSession
from aiohttp import web
from aiohttp.test_utils import TestServer

from autoscaler.interfaces import Clock
from tests.aws import answers
from tests.aws.moto import Account
from tests.aws.policy import allowed_actions

BEFORE, AFTER = "before", "after"
Cut = Callable[[str], str]
"""Says of a call to an action whether its connection breaks `before` it is done, `after`, or not ("")."""
_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")
_OWN = frozenset({"host", "connection", "accept-encoding", "content-length", "transfer-encoding", "keep-alive"})


def cut_nothing(action: str) -> str:
    """Break no connection."""
    return ""


class FaultyAws:
    """
    AWS as a client sees it, at `url`.

    `called` has each action in order. `denied` actions are refused; `throttled` says how many more calls of an
    action are refused as too many. Launches of offers in `sold_out` (type, zone) fail. While `slow`, what is
    launched stays Pending and what is terminated stays Terminating.
    """

    def __init__(self, account: Account, clock: Clock) -> None:
        self.account, self.clock, self.url = account, clock, ""
        self.called: list[str] = []
        self.denied: set[str] = set()
        self.throttled: Counter[str] = Counter()
        self.sold_out: set[tuple[str, str]] = set()
        self.slow = False
        self.cut: Cut = cut_nothing
        self.garbled: set[str] = set()
        self._allowed = allowed_actions()
        self._asked_for: dict[str, int] = {}
        self._failed: dict[str, list[answers.Failure]] = {}
        self._ending: dict[str, list[dict[str, str]]] = {}
        self._in_service: set[str] = set()
        self._changing = asyncio.Lock()
        self._session: aiohttp.ClientSession

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FaultyAws]:
        """Listen on loopback."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        async with TestServer(application) as server, aiohttp.ClientSession() as self._session:
            self.url = str(server.make_url("")).rstrip("/")
            yield self

    async def settle(self) -> None:
        """Let all that is starting or ending come to its end."""
        self._ending.clear()
        for group in await self._groups():
            self._in_service.update(each["InstanceId"] for each in group["Instances"])

    async def restock(self) -> None:
        """Let there be capacity again: what was asked for in vain is launched."""
        self.sold_out.clear()
        for name, size in self._asked_for.items():
            await self.account.call(
                "autoscaling", "SetDesiredCapacity", AutoScalingGroupName=name, DesiredCapacity=size
            )
        self._asked_for.clear()
        self._failed.clear()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        form = dict(parse_qsl(body.decode()))
        scope = _SCOPE.search(request.headers.get("Authorization", ""))
        service = scope.group(1) if scope else "unsigned"
        action = f"{service}:{form.get('Action', '')}"
        self.called.append(action)
        moment = self.cut(action)
        refused = self._refusal(service, action)
        if refused is None and moment != BEFORE:
            async with self._changing:
                refused = await self._answer(request, body, form)
        if moment:
            assert request.transport is not None
            request.transport.abort()
        if action in self.garbled:
            return web.Response(body=b"<html>Bad gateway</html>", content_type="text/html")
        return refused or web.Response()

    def _refusal(self, service: str, action: str) -> web.Response | None:
        if action not in self._allowed or action in self.denied:
            code = "UnauthorizedOperation" if service == "ec2" else "AccessDenied"
            return answers.refusal(service, code, f"not authorized to perform: {action}", status=403)
        if self.throttled[action] > 0:
            self.throttled[action] -= 1
            code = "RequestLimitExceeded" if service == "ec2" else "Throttling"
            return answers.refusal(service, code, "Rate exceeded", status=400)
        return None

    async def _answer(self, request: web.Request, body: bytes, form: dict[str, str]) -> web.Response:
        action = form.get("Action", "")
        if action == "SetDesiredCapacity":
            refused = await self._size(form)
        elif action == "TerminateInstanceInAutoScalingGroup":
            refused = await self._end(form)
        elif action == "DescribeScalingActivities":
            return answers.activities(self._failed.get(form["AutoScalingGroupName"], []))
        else:
            refused = None
        if refused is not None:
            return refused
        status, content = await self._forward(request, body)
        if action == "DescribeAutoScalingGroups" and status == 200:
            content = answers.shown(
                content, asked_for=self._asked_for, ending=self._ending, is_pending=self._is_pending
            )
        return web.Response(status=status, body=content, content_type="text/xml")

    async def _forward(self, request: web.Request, body: bytes) -> tuple[int, bytes]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
        async with self._session.request(
            request.method, f"{self.account.url}{request.path_qs}", data=body, headers=headers
        ) as answer:
            return answer.status, await answer.read()

    def _is_pending(self, instance: str) -> bool:
        if not self.slow:
            self._in_service.add(instance)
        return instance not in self._in_service

    async def _size(self, form: dict[str, str]) -> web.Response | None:
        """Return what AWS says in moto's place, None where moto shall do it."""
        name, size = form["AutoScalingGroupName"], int(form["DesiredCapacity"])
        group = await self._group(name)
        if group is None:
            return answers.invalid(f"AutoScalingGroup name not found - no such group: {name}")
        for wrong, word, bound in (
            (size > group["MaxSize"], "above max", group["MaxSize"]),
            (size < group["MinSize"], "below min", group["MinSize"]),
        ):
            if wrong:
                return answers.invalid(
                    f"New SetDesiredCapacity value {size} is {word} value {bound} for the AutoScalingGroup."
                )
        self._asked_for.pop(name, None)
        self._failed.pop(name, None)
        offers = await self._offers(group)
        if size > len(group["Instances"]) and offers <= self.sold_out:
            self._asked_for[name] = size
            kind, zone = min(offers)
            at = datetime.fromtimestamp(self.clock.now(), UTC)
            self._failed[name] = [answers.Failure(kind=kind, zone=zone, at=at)]
            return answers.done("SetDesiredCapacity")
        return None

    async def _end(self, form: dict[str, str]) -> web.Response | None:
        instance = form["InstanceId"]
        for group in await self._groups():
            for each in group["Instances"]:
                if each["InstanceId"] == instance:
                    return self._end_of(group, each)
        return answers.invalid(f"Instance Id not found - No managed instance found for instance ID: {instance}")

    def _end_of(self, group: dict[str, Any], instance: dict[str, Any]) -> web.Response | None:
        name = group["AutoScalingGroupName"]
        desired = self._asked_for.get(name, group["DesiredCapacity"])
        if desired <= group["MinSize"]:
            return answers.invalid(
                f"Currently, desiredSize equals minSize ({desired}). Terminating instance without replacement"
                " will violate group's min size constraint."
            )
        if name in self._asked_for:
            self._asked_for[name] -= 1
        if self.slow:
            shown = {key: str(instance[key]) for key in ("InstanceId", "InstanceType", "AvailabilityZone")}
            self._ending.setdefault(name, []).append(shown)
        return None

    async def _offers(self, group: dict[str, Any]) -> set[tuple[str, str]]:
        mixed = group.get("MixedInstancesPolicy")
        if mixed:
            kinds = [each["InstanceType"] for each in mixed["LaunchTemplate"]["Overrides"]]
        else:
            ref = group["LaunchTemplate"]
            answer = await self.account.call(
                "ec2", "DescribeLaunchTemplateVersions", LaunchTemplateId=ref["LaunchTemplateId"], Versions=["1"]
            )
            kinds = [answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]["InstanceType"]]
        return {(kind, zone) for kind in kinds for zone in group["AvailabilityZones"]}

    async def _groups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            answer = await self.account.call("autoscaling", "DescribeAutoScalingGroups", MaxRecords=100, **token)
            found += answer["AutoScalingGroups"]
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}

    async def _group(self, name: str) -> dict[str, Any] | None:
        answer = await self.account.call("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[name])
        return next(iter(answer["AutoScalingGroups"]), None)


@asynccontextmanager
async def faulty_aws(url: str, clock: Clock, *, session: AioSession | None = None) -> AsyncIterator[FaultyAws]:
    """Give AWS with an empty account in front of the moto server at *url*."""
    async with Account(url, session) as account:
        await account.clear()
        async with FaultyAws(account, clock).serving() as aws:
            yield aws
