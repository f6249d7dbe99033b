from pathlib import Path

import msgspec
import numpy as np
import pytest

from autoscaler.backtest.reference import scenario_reference, scenario_schema
from autoscaler.backtest.scenario import BUNDLED, load_scenario, parse_scenario
from autoscaler.errors import PolicyError, ScenarioError
from autoscaler.model.units import MIB
from autoscaler.policy_files import policies_of
from autoscaler.simulator import spec as world

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "reference" / "scenario.md"
SELF_CONTAINED = ("demo", "tiny")
HEAD = "name: x\nlength: 1h\nhistory: 1h\nnodes: {types: [{name: n, cpu: 4, memory: 16Gi, price: 0.2}]}\n"
WEB = "workloads: [{name: web, load: {constant: {rate: 10}}, cpuPerRequest: 20m}]\n"


@pytest.mark.parametrize("name", SELF_CONTAINED)
def test_bundled_scenarios_need_nothing_else(name: str) -> None:
    scenario = load_scenario(name, {})
    built = msgspec.structs.replace(scenario, folders=scenario.folders[-2:]).world()
    world.check_world(built)
    assert built.services


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_installed_scenario_parses_under_its_own_name(path: Path) -> None:
    assert load_scenario(path).name == path.stem


def test_equal_seeds_give_equal_worlds() -> None:
    one, same, other = (load_scenario("tiny").world(seed) for seed in (3, 3, 4))
    assert one.services[0].requests is not None
    assert same.services[0].requests is not None
    assert other.services[0].requests is not None
    assert np.array_equal(one.services[0].requests, same.services[0].requests)
    assert not np.array_equal(one.services[0].requests, other.services[0].requests)


def test_defaults_of_a_workload() -> None:
    (service,) = parse_scenario(HEAD + WEB, "s.yaml").world().services
    assert (service.pod_requests.cpu, service.pod_requests.memory) == (500, 512 * MIB)
    assert service.pod_limits.names() == ("memory",)
    assert service.replicas == 2
    assert service.requests is not None
    assert service.requests.shape == (2 * 120,)


def test_replicas_begin_where_the_first_load_needs_them() -> None:
    text = HEAD + WEB.replace("rate: 10", "rate: 100")
    (service,) = parse_scenario(text, "s.yaml").world().services
    assert service.replicas == 6  # 100 requests a second x 20 ms = 2 cores, at 70 % of 500m


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        pytest.param(HEAD + "workload: []\n", "workload", "did you mean workloads", id="an-unknown-field"),
        pytest.param(HEAD + "lenght: 1h\n", "lenght", "did you mean length", id="a-misspelt-field"),
        pytest.param(HEAD, "workloads", "1 to", id="no-workloads"),
        pytest.param(HEAD + WEB + "step: 0s\n", "step", "1s to 1h", id="no-step"),
        pytest.param(HEAD + WEB + "warmup: 2h\n", "history", "warmup", id="a-warm-up-before-all-history"),
        pytest.param(HEAD + WEB + "start: noon\n", "start", "ISO 8601", id="a-start-that-is-no-time"),
        pytest.param(HEAD + WEB.replace("20m", "0"), "workloads[0].cpuPerRequest", "core-seconds", id="free-requests"),
        pytest.param(
            HEAD + WEB.replace("rate: 10", "rate: .nan"), "workloads[0].load.constant.rate", "finite", id="nan"
        ),
        pytest.param(
            HEAD + WEB.replace("rate: 10", "rate: .inf"), "workloads[0].load.constant.rate", "finite", id="inf"
        ),
        pytest.param(HEAD + WEB.replace("rate: 10", "rate: -1"), "workloads[0].load.constant.rate", "0", id="negative"),
        pytest.param(
            HEAD + WEB.replace("web", "We b"), "workloads[0].name", "lower-case", id="a-name-kubernetes-refuses"
        ),
        pytest.param(
            HEAD + WEB.replace("cpuPerRequest", "requests: {cpu: -1}, cpuPerRequest"),
            "workloads[0].requests.cpu",
            "at least 0",
            id="a-negative-request",
        ),
        pytest.param(
            HEAD.replace("16Gi", "-16Gi") + WEB,
            "nodes.types[0].memory",
            "at least 0",
            id="a-machine-of-negative-memory",
        ),
        pytest.param(HEAD + WEB + "expect: {usd: {max: 1}}\n", "expect.usd", "usd_per_day", id="an-unknown-metric"),
        pytest.param(
            HEAD + WEB + "faults: [{kind: NodeLoss, at: 1h, cuont: 2}]\n",
            "faults[0].cuont",
            "did you mean count",
            id="a-fault-with-an-unknown-field",
        ),
        pytest.param(HEAD + WEB + "faults: [{kind: Fire, at: 1h}]\n", "faults[0].kind", "NodeLoss", id="no-such-fault"),
        pytest.param(
            HEAD + WEB + "faults: [{kind: BadDeploy, at: 1m, workload: api}]\n",
            "faults[0].workload",
            "web",
            id="a-fault-of-nobody",
        ),
        pytest.param(
            HEAD + WEB + "faults: [{kind: NodeLoss, at: 1h}]\n",
            "faults[0].at",
            "before the end",
            id="a-fault-after-the-end",
        ),
        pytest.param(
            HEAD + WEB + "faults: [{kind: StockOut, at: 1m, instanceType: m}]\n",
            "faults[0].instanceType",
            "one of n",
            id="a-fault-of-an-unknown-machine",
        ),
        pytest.param(HEAD + WEB + "period: 45s\n", "period", "multiple", id="a-period-between-steps"),
        pytest.param(HEAD + WEB + "period: 2h\n", "period", "at most the length", id="a-period-without-an-end"),
        pytest.param(HEAD.replace("x\n", "x/y\n") + WEB, "name", "lower-case", id="a-scenario-named-like-a-path"),
        pytest.param(
            HEAD.replace("nodes: {", "nodes: {initial: {n: 501}, ") + WEB,
            "nodes.initial.n",
            "at most maxCount, 500",
            id="more-machines-than-the-maximum",
        ),
        pytest.param(
            HEAD.replace("nodes: {", "nodes: {initial: {m: 1}, ") + WEB,
            "nodes.initial.m",
            "one of n",
            id="an-unknown-machine",
        ),
        pytest.param(
            HEAD.replace("nodes: {", "nodes: {capacityTypes: [spot], ") + WEB,
            "nodes.types[0].spotPrice",
            "a price",
            id="spot-without-a-price",
        ),
        pytest.param(
            HEAD.replace("16Gi", "1Mi") + WEB, "nodes.types[0].memory", "kubelet", id="a-machine-full-of-kubelet"
        ),
        pytest.param(
            HEAD + WEB.replace("cpuPerRequest", "memory: {base: 1e300}, cpuPerRequest"),
            "workloads[0].memory.base",
            "at most 1P",
            id="absurd-memory",
        ),
        pytest.param(
            HEAD + WEB.replace("cpuPerRequest", "limits: {memory: 1Mi}, cpuPerRequest"),
            "workloads[0].limits.memory",
            "at least the request, 512Mi",
            id="a-limit-below-the-request",
        ),
        pytest.param(
            HEAD + WEB.replace("cpuPerRequest", "requests: {gpu: 1}, cpuPerRequest"),
            "workloads[0].requests",
            "nvidia.com/gpu",
            id="a-resource-kubernetes-refuses",
        ),
        pytest.param(
            HEAD + WEB.replace("cpuPerRequest", "maxUnavailable: many, cpuPerRequest"),
            "workloads[0].maxUnavailable",
            "a percentage",
            id="a-budget-that-is-no-number",
        ),
        pytest.param(
            HEAD + WEB.replace("cpuPerRequest", "kind: Job, cpuPerRequest"),
            "workloads[0].kind",
            "StatefulSet",
            id="a-kind-that-is-not-simulated",
        ),
        pytest.param(
            HEAD + WEB.replace("cpuPerRequest", "placement: {tolerations: [{operator: In}]}, cpuPerRequest"),
            "workloads[0].placement.tolerations[0].operator",
            "Exists",
            id="an-unknown-operator",
        ),
        pytest.param(HEAD + WEB + "---\nname: y\n", "", "one YAML document", id="two-documents"),
        pytest.param(HEAD + WEB + "seed: 1\nseed: 2\n", "line 7", "each key once", id="a-key-twice"),
    ],
)
def test_wrong_scenarios_name_the_path_and_what_is_allowed(text: str, path: str, allowed: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parse_scenario(text, "s.yaml").world()
    assert error.value.where == "s.yaml"
    assert error.value.path == path
    assert allowed in error.value.allowed


def test_unknown_instance_types_are_named() -> None:
    nodes = "nodes: {catalogue: {file: aws_instance_types.csv, names: [m5.large, m1.huge]}}\n"
    with pytest.raises(ScenarioError, match=r"m1\.huge"):
        parse_scenario("name: x\n" + nodes + WEB, "s.yaml", folders=load_scenario("tiny").folders).world()


def test_spot_needs_advice() -> None:
    nodes = "nodes: {capacityTypes: [spot], catalogue: {file: aws_instance_types.csv}}\n"
    with pytest.raises(ScenarioError, match="spotAdvisor"):
        parse_scenario("name: x\n" + nodes + WEB, "s.yaml", folders=load_scenario("tiny").folders).world()


def test_spot_prices_and_interruptions_come_from_the_advisor() -> None:
    nodes = (
        "nodes: {capacityTypes: [on-demand, spot], zones: [a, b], catalogue: {file: aws_instance_types.csv, "
        "names: [m7i.xlarge], spotAdvisor: aws_spot_advisor_us-east-1.csv.gz}}\n"
    )
    (pool,) = parse_scenario("name: x\n" + nodes + WEB, "s.yaml", folders=load_scenario("tiny").folders).world().pools
    prices = {(offer.zone, offer.capacity_type): offer.usd_per_hour for offer in pool.instance.offerings}
    assert prices[("a", "spot")] == pytest.approx(0.2016 * (1 - 0.53))
    assert prices[("b", "on-demand")] == 0.2016
    assert {offer.interruptions_per_hour > 0 for offer in pool.instance.offerings} == {True, False}


def test_policies_of_a_scenario_are_checked_whatever_the_engine() -> None:
    text = HEAD + WEB + "policies: [{apiVersion: podnode.io/v1alpha1, kind: Policy}]\n"
    with pytest.raises(PolicyError, match=r"s.yaml: policies\[0\]: kind: 'Policy'"):
        parse_scenario(text, "s.yaml")


def test_a_missing_trace_says_what_to_do() -> None:
    text = HEAD + WEB.replace("constant: {rate: 10}", "series: {file: visits.csv}")
    with pytest.raises(ScenarioError, match=r"load.series.file: 'visits.csv'.*set AUTOSCALER_DATA"):
        parse_scenario(text, "s.yaml").world()


@pytest.mark.parametrize("name", ["no-such-scenario", "/no/such/file.yaml", "", "a\0b", "x" * 5000, "."])
def test_a_missing_file_is_bad_input(name: str) -> None:
    with pytest.raises(ScenarioError):
        load_scenario(name)


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == scenario_reference()


def test_the_schema_describes_every_field() -> None:
    schema = scenario_schema()
    assert schema["$defs"]["NodeLoss"]["properties"]["kind"] == {"const": "NodeLoss"}
    assert schema["$defs"]["WorkloadEntry"]["required"] == ["name", "load"]
    assert "description" in schema["$defs"]["ScenarioFile"]["properties"]["warmup"]


def test_the_how_to_begins_with_a_scenario_that_works() -> None:
    text = (DOCS / "how-to" / "write-a-scenario.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    (whole,) = [block for block in blocks if block.startswith("name:")]
    (rest,) = [block for block in blocks if block.startswith("policies:")]
    faults = next(block for block in blocks if block.startswith("faults:"))
    scenario = parse_scenario(whole + faults + rest, "my-shop.yaml", folders=load_scenario("tiny").folders)
    assert len(scenario.world().pools) == 3
    assert policies_of(scenario.file.policies, "my-shop.yaml").scaling[0].spec.mode == "Auto"
