"""What AWS's refusals mean to us."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto

from autoscaler.errors import AccessError, AutoscalerError, CapacityError, ConflictError, TransientError
from autoscaler.providers.aws.failures import is_throttling, translated
from autoscaler.providers.aws.outages import Outages, is_outage, offers_in

SIZE = "autoscaling:SetDesiredCapacity"
OFFERS = [
    ("m5.large", "eu-west-1a", "spot"),
    ("m5.large", "eu-west-1b", "spot"),
    ("c7i-flex.2xlarge", "eu-west-1a", "spot"),
]


def refused(code: str) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code, "Message": "said AWS"}}, "SetDesiredCapacity")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        pytest.param("AccessDenied", AccessError, "deploy/iam/aws-policy.json", id="a-missing-permission"),
        pytest.param("UnauthorizedOperation", AccessError, "deploy/iam/aws-policy.json", id="as-ec2-says-it"),
        pytest.param("ExpiredToken", AccessError, "does not take these credentials", id="old-credentials"),
        pytest.param("RequestExpired", AccessError, "is the clock of this machine right", id="clock-skew"),
        pytest.param("SignatureDoesNotMatch", AccessError, "is the clock of this machine right", id="signature"),
        pytest.param("Throttling", TransientError, "said AWS", id="too-many-calls"),
        pytest.param("InsufficientInstanceCapacity", CapacityError, "said AWS", id="no-capacity"),
        pytest.param("VcpuLimitExceeded", CapacityError, "said AWS", id="quota"),
        pytest.param("ValidationError", ConflictError, "said AWS", id="a-bound"),
        pytest.param("InvalidLaunchTemplateId.NotFound", ConflictError, "said AWS", id="a-template-that-is-gone"),
        pytest.param("InternalFailure", TransientError, "said AWS", id="their-fault"),
        pytest.param("NeverHeardOf", TransientError, "NeverHeardOf: said AWS", id="a-new-code"),
    ],
)
def test_each_code_says_who_can_mend_it(code: str, kind: type[AutoscalerError], words: str) -> None:
    error = translated(refused(code), SIZE)
    assert type(error) is kind
    assert str(error).startswith(SIZE)
    assert words in str(error)


def test_only_a_refusal_for_too_many_calls_is_throttling() -> None:
    assert is_throttling(refused("RequestLimitExceeded"))
    assert not is_throttling(refused("InternalFailure"))
    assert not is_throttling(boto.ReadTimeoutError(endpoint_url="http://x"))


@pytest.mark.parametrize(
    ("message", "met"),
    [
        pytest.param("sufficient m5.large capacity in the zone you requested (eu-west-1b).", OFFERS[1:2], id="both"),
        pytest.param("sufficient c7i-flex.2xlarge capacity in the zone (eu-west-1a)", OFFERS[2:], id="a-flex-type"),
        pytest.param("UnfulfillableCapacity - Unable to fulfill capacity", OFFERS, id="neither"),
        pytest.param("no sufficient x2gd.medium capacity (us-east-1f)", OFFERS, id="none-of-ours"),
    ],
)
def test_a_message_tells_which_offers_are_sold_out(message: str, met: list[tuple[str, str, str]]) -> None:
    assert is_outage(message)
    assert offers_in(message, OFFERS) == met


def test_a_wrong_image_is_no_outage() -> None:
    assert not is_outage("The image id '[ami-1]' does not exist. Launching EC2 instance failed.")


def test_one_offer_left_is_enough_and_what_is_sold_out_comes_back() -> None:
    outages = Outages()
    outages.remember(OFFERS[:2], since=1000.0)
    assert outages.until(OFFERS, now=1000.0) == 0.0
    assert outages.until(OFFERS[:2], now=1000.0) == 1180.0
    assert outages.until(OFFERS[:2], now=1180.0) == 0.0
