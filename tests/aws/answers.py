"""Answers of AWS's query APIs, as XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from xml.sax.saxutils import escape

import msgspec
from aiohttp import web

AUTO_SCALING = "http://autoscaling.amazonaws.com/doc/2011-01-01/"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A launch that failed for want of capacity."""

    kind: str
    zone: str
    at: datetime

    @property
    def message(self) -> str:
        return (
            f"We currently do not have sufficient {self.kind} capacity in the Availability Zone you requested"
            f" ({self.zone}). Our system will be working on provisioning additional capacity."
            f" You can currently get {self.kind} capacity by not specifying an Availability Zone in your request."
            " Launching EC2 instance failed."
        )


def refusal(service: str, code: str, message: str, *, status: int) -> web.Response:
    """Return an error as the API of *service* writes it."""
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    if service == "ec2":
        text = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
    else:
        text = f'<ErrorResponse xmlns="{AUTO_SCALING}">{error}<RequestId>1</RequestId></ErrorResponse>'
    return web.Response(status=status, text=text, content_type="text/xml")


def invalid(message: str) -> web.Response:
    return refusal("autoscaling", "ValidationError", message, status=400)


def done(action: str, result: str = "") -> web.Response:
    """Return an answer of Auto Scaling."""
    text = (
        f'<{action}Response xmlns="{AUTO_SCALING}">{result}'
        f"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    )
    return web.Response(text=text, content_type="text/xml")


def activities(failures: Sequence[Failure]) -> web.Response:
    """Return the answer of DescribeScalingActivities, newest first."""
    members = "".join(
        "<member>"
        f"<ActivityId>{number}</ActivityId><AutoScalingGroupName>g</AutoScalingGroupName><Cause>c</Cause>"
        "<Description>Launching a new EC2 instance.  Status Reason: failed</Description>"
        f"<StartTime>{each.at.isoformat()}</StartTime><EndTime>{each.at.isoformat()}</EndTime>"
        f"<StatusCode>Failed</StatusCode><StatusMessage>{escape(each.message)}</StatusMessage>"
        "</member>"
        for number, each in enumerate(failures)
    )
    return done(
        "DescribeScalingActivities",
        f"<DescribeScalingActivitiesResult><Activities>{members}</Activities></DescribeScalingActivitiesResult>",
    )


def shown(
    content: bytes,
    *,
    asked_for: Mapping[str, int],
    ending: Mapping[str, Sequence[Mapping[str, str]]],
    is_pending: Callable[[str], bool],
) -> bytes:
    """Return moto's list of groups with sizes that were asked for in vain, and with instances' true states."""
    root = ET.fromstring(content)
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    ET.register_namespace("", space.strip("{}"))
    for group in root.iterfind(f".//{space}AutoScalingGroups/{space}member"):
        name = group.findtext(f"{space}AutoScalingGroupName", "")
        desired = group.find(f"{space}DesiredCapacity")
        if desired is not None and name in asked_for:
            desired.text = str(asked_for[name])
        instances = group.find(f"{space}Instances")
        if instances is None:
            instances = ET.SubElement(group, f"{space}Instances")
        for each in instances:
            state = each.find(f"{space}LifecycleState")
            if state is not None and is_pending(each.findtext(f"{space}InstanceId", "")):
                state.text = "Pending"
        for gone in ending.get(name, ()):
            member = ET.SubElement(instances, f"{space}member")
            for key, value in {**gone, "LifecycleState": "Terminating"}.items():
                ET.SubElement(member, f"{space}{key}").text = value
    return ET.tostring(root)
