from __future__ import annotations

import pytest

from autoscaler.errors import AccessError, AutoscalerError, ConflictError, TransientError
from autoscaler.kube.client import AlreadyExistsError, ExpiredError, NotFoundError, RefusedError, error_of

NOON = "Tue, 24 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        pytest.param(401, "", AccessError, id="not-logged-in"),
        pytest.param(403, "", AccessError, id="not-allowed"),
        pytest.param(403, "Forbidden", RefusedError, id="refused-by-admission"),
        pytest.param(404, "NotFound", NotFoundError, id="gone"),
        pytest.param(409, "Conflict", ConflictError, id="changed-meanwhile"),
        pytest.param(409, "AlreadyExists", AlreadyExistsError, id="there-already"),
        pytest.param(410, "Expired", ExpiredError, id="too-old"),
        pytest.param(422, "Invalid", RefusedError, id="refused"),
        pytest.param(429, "TooManyRequests", TransientError, id="too-many-requests"),
        pytest.param(503, "", TransientError, id="server-down"),
    ],
)
def test_each_refusal_is_for_who_can_mend_it(code: int, reason: str, kind: type[AutoscalerError]) -> None:
    body = f'{{"kind": "Status", "reason": "{reason}", "message": "no"}}'.encode()
    error = error_of(code, body, call="GET /x")
    assert type(error) is kind
    assert "GET /x" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"Retry-After": "7"}, 7.0, id="a-number"),
        pytest.param({"Retry-After": "Tue, 24 Nov 2026 12:00:10 GMT", "Date": NOON}, 10.0, id="a-date"),
        pytest.param({"Retry-After": "Tue, 24 Nov 2026 11:00:00 GMT", "Date": NOON}, 0.0, id="a-date-that-passed"),
        pytest.param({"Retry-After": "-3"}, 0.0, id="negative"),
        pytest.param({"Retry-After": "nan"}, 1.0, id="not-a-number"),
        pytest.param({"Retry-After": "soon"}, 1.0, id="words"),
        pytest.param({"Retry-After": "99999999"}, 300.0, id="at-most-five-minutes"),
        pytest.param({}, 1.0, id="nothing-said"),
    ],
)
def test_waits_as_long_as_the_server_says(headers: dict[str, str], seconds: float) -> None:
    error = error_of(429, b"not json", call="GET /x", headers=headers)
    assert isinstance(error, TransientError)
    assert error.retry_after_seconds == seconds
