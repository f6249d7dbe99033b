"""Settings come from flags, else the environment, else defaults; a wrong one is named with what is allowed."""

from __future__ import annotations

import msgspec
import pytest

from autoscaler.cli.main import build_parser
from autoscaler.cli.run import given_settings
from autoscaler.errors import InputError
from autoscaler.model.spec import Duration
from autoscaler.settings import Actuate, LogForm, Settings, flag_of, read_settings


def _parsed(*words: str) -> dict[str, object]:
    return given_settings(build_parser("run").parse_args(["run", *words]))


def test_the_defaults_change_nothing() -> None:
    settings = read_settings({}, {})
    assert settings == Settings()
    assert settings.actuate is Actuate.RECORD
    assert settings.debug_port == settings.webhook_port == 0


def test_a_flag_wins_over_the_environment() -> None:
    environment = {"PODNODE_ACTUATE": "apply", "PODNODE_PERIOD": "1m", "PODNODE_LEADER_ELECT": "false"}
    settings = read_settings(_parsed("--actuate", "validate"), environment)
    assert settings.actuate is Actuate.VALIDATE
    assert settings.period == Duration("60s")
    assert settings.leader_elect is False
    assert read_settings(_parsed("--leader-elect"), environment).leader_elect is True


def test_lists_are_repeated_flags_or_lines() -> None:
    given = _parsed("--policies", "a", "--policies", "b")
    assert read_settings(given, {}).policies == ("a", "b")
    environment = {"PODNODE_PROMETHEUS_HEADER": "X-Scope-OrgID: a,b\n\nAuthorization: Bearer x\n"}
    assert read_settings({}, environment).prometheus_header == ("X-Scope-OrgID: a,b", "Authorization: Bearer x")


def test_an_empty_variable_is_none() -> None:
    assert read_settings({}, {"PODNODE_ACTUATE": ""}) == Settings()


@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(Settings)])
def test_every_field_is_a_flag(name: str) -> None:
    parser = build_parser("run")
    actions = next(action for action in parser._actions if action.dest == "command").choices
    assert actions is not None
    assert flag_of(name) in {flag for action in actions["run"]._actions for flag in action.option_strings}  # type: ignore[index]


@pytest.mark.parametrize(
    ("flags", "environment", "named"),
    [
        pytest.param({"actuate": "yes"}, {}, ["--actuate", "'yes'", "record, validate, apply"], id="unknown-word"),
        pytest.param({}, {"PODNODE_LISTEN_PORT": "99999"}, ["PODNODE_LISTEN_PORT", "65535"], id="port-in-variable"),
        pytest.param({"listen_port": "http"}, {}, ["--listen-port", "'http'", "whole number"], id="not-a-number"),
        pytest.param({"period": "soon"}, {}, ["--period", "'soon'", "a duration"], id="not-a-duration"),
        pytest.param({"period": "0.1s"}, {}, ["--period", "1s to 10m"], id="too-short-a-period"),
        pytest.param({"checkpoint": "file"}, {}, ["--checkpoint", "file:PATH"], id="file-without-path"),
        pytest.param({"checkpoint": "s3:x"}, {}, ["--checkpoint", "configmap"], id="unknown-place"),
        pytest.param({"webhook_port": 9443}, {}, ["--webhook-port", "--webhook-cert-file"], id="no-certificate"),
        pytest.param({"prometheus_header": ["X-Org"]}, {}, ["--prometheus-header", "Name: value"], id="half-a-header"),
        pytest.param({"prometheus_query": ["cpu"]}, {}, ["--prometheus-query", "QUESTION=PROMQL"], id="half-a-query"),
        pytest.param({"prometheus_user": "me"}, {}, ["--prometheus-user", "password"], id="user-without-password"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, object], environment: dict[str, str], named: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_settings(flags, environment)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in named), message


def test_text_for_people_can_be_asked_for() -> None:
    assert read_settings(_parsed("--log-format", "text"), {}).log_format is LogForm.TEXT
