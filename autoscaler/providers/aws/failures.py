"""
AWS's refusals as errors that say who can mend them.

Codes are those of the Auto Scaling and EC2 API references, sections "Common errors" and "Error codes".
"""

from __future__ import annotations

from botocore import exceptions as boto

from autoscaler.errors import AccessError, AutoscalerError, CapacityError, ConflictError, TransientError

POLICY = "deploy/iam/aws-policy.json"
THROTTLED_SECONDS, BROKEN_SECONDS, CAPACITY_SECONDS = 5.0, 10.0, 180.0
"""When to try again. Three minutes is also how long Karpenter remembers that a type is not to be had."""

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess"}
_NO_LOGIN = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "MissingAuthenticationToken",
    "OptInRequired",
    "UnrecognizedClientException",
}
_CLOCK = {"RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"}
_THROTTLED = {
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_CAPACITY = {
    "InsufficientCapacity",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "Unsupported",
    "VcpuLimitExceeded",
}
_CONFLICT = {"ScalingActivityInProgress", "ResourceInUse", "ValidationError"}
"""Auto Scaling tells of bounds, of groups and of instances that are gone by a ValidationError."""
_NO_TEMPLATE = "InvalidLaunchTemplate"
"""How the codes begin by which EC2 says that a launch template, or a version of it, is not there."""
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)
_NO_REGION = (boto.NoRegionError, boto.InvalidRegionError)


def translated(error: Exception, action: str) -> AutoscalerError:
    """
    Return what *error*, raised by the call *action* (`autoscaling:SetDesiredCapacity`), means to us.

    A code that is not known is taken as passing: it is told, and the call is tried again in the next turn.
    """
    if isinstance(error, boto.ClientError):
        told = error.response.get("Error", {})
        return _of_code(str(told.get("Code", "")), str(told.get("Message", "")), action)
    if isinstance(error, _NO_CREDENTIALS):
        return AccessError(
            f"{action}: no way to log in to AWS ({_line(error)}); give the pod a role (IRSA or EKS Pod Identity)"
        )
    if isinstance(error, _NO_REGION):
        return AccessError(f"{action}: {_line(error)}; name the region by --aws-region or AWS_REGION")
    if isinstance(error, LookupError):
        return TransientError(f"{action}: the answer lacks {_line(error)}", retry_after_seconds=BROKEN_SECONDS)
    return TransientError(f"{action}: {_line(error)}", retry_after_seconds=BROKEN_SECONDS)


def is_throttling(error: Exception) -> bool:
    """Tell whether AWS refused the call before doing anything, only because there were too many."""
    return isinstance(error, boto.ClientError) and error.response.get("Error", {}).get("Code", "") in _THROTTLED


def _of_code(code: str, message: str, action: str) -> AutoscalerError:
    said = f"{action}: {code}: {' '.join(message.split())}"
    if code in _DENIED:
        return AccessError(f"{action} is not allowed: the role needs this action, as {POLICY} grants it ({code})")
    if code in _NO_LOGIN:
        return AccessError(f"{said}: AWS does not take these credentials")
    if code in _CLOCK:
        return AccessError(f"{said}: is the clock of this machine right, and the secret key?")
    if code in _THROTTLED:
        return TransientError(said, retry_after_seconds=THROTTLED_SECONDS)
    if code in _CAPACITY:
        return CapacityError(said, retry_after_seconds=CAPACITY_SECONDS)
    if code in _CONFLICT or code.startswith(_NO_TEMPLATE):
        return ConflictError(said)
    return TransientError(said, retry_after_seconds=BROKEN_SECONDS)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
