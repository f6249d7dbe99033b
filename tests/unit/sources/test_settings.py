from __future__ import annotations

from typing import Any

import pytest

from autoscaler.errors import InputError
from autoscaler.sources.promql import CONVENTIONS, Question
from autoscaler.sources.settings import PrometheusSettings, check_settings


def check(**fields: Any) -> None:
    settings = PrometheusSettings(**{"url": "http://prometheus:9090", **fields})
    check_settings(settings, questions=frozenset(Question), conventions=frozenset(CONVENTIONS))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"url": "prometheus:9090"}, "url", id="no-scheme"),
        pytest.param({"url": "ftp://prometheus"}, "url", id="another-scheme"),
        pytest.param({"url": "http://"}, "url", id="no-host"),
        pytest.param({"url": "http://p/api?x=1"}, "url", id="with-a-query"),
        pytest.param({"headers": (("X Y", "1"),)}, "headers[0]", id="header-name"),
        pytest.param({"headers": (("X", "1\r\nY: 2"),)}, "headers[0]", id="header-of-two-lines"),
        pytest.param({"token_file": "a", "user": "b"}, "token_file", id="two-ways-to-log-in"),
        pytest.param({"cert_file": "a"}, "key_file", id="a-certificate-without-key"),
        pytest.param({"matchers": ('cluster="a"} or up{x="',)}, "matchers[0]", id="more-than-a-matcher"),
        pytest.param({"matchers": ("cluster",)}, "matchers[0]", id="no-matcher"),
        pytest.param({"conventions": ("soap",)}, "conventions", id="unknown-convention"),
        pytest.param({"queries": {"cpus": "up"}}, "queries", id="unknown-question"),
        pytest.param({"timeout_seconds": 0.0}, "timeout_seconds", id="no-time"),
        pytest.param({"timeout_seconds": float("nan")}, "timeout_seconds", id="nan"),
        pytest.param({"min_coverage": 1.5}, "min_coverage", id="more-than-all"),
        pytest.param({"window_seconds": 50.0}, "window_seconds", id="no-room-for-two-scrapes"),
        pytest.param({"slow_seconds": 0.0}, "slow_seconds", id="everything-is-slow"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InputError) as caught:
        check(**fields)
    assert caught.value.path == path
    assert caught.value.allowed in str(caught.value)


@pytest.mark.parametrize(
    ("url", "prefix", "base"),
    [
        pytest.param("http://p:9090/", "", "http://p:9090", id="a-slash-at-the-end"),
        pytest.param("http://m", "/prometheus/", "http://m/prometheus", id="a-prefix"),
        pytest.param("http://v/select/0/prometheus", "", "http://v/select/0/prometheus", id="a-path"),
    ],
)
def test_base(url: str, prefix: str, base: str) -> None:
    check(url=url, prefix=prefix)
    assert PrometheusSettings(url=url, prefix=prefix).base == base
