"""
What exactly a Pods, Object or External metric asks for, as the `name` of a signal.

Source: Kubernetes autoscaling/v2 `MetricIdentifier` and `CrossVersionObjectReference`.
"""

from __future__ import annotations

import msgspec

from autoscaler.model.spec import MetricName, Selector, TargetRef


class MetricQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A metric's name, the labels it is narrowed to (`a=b,c in (d)`), and the object it is of, if of one."""

    metric: str
    selector: str = ""
    kind: str = ""
    api_version: str = ""
    object: str = ""


def query_name(metric: MetricName, described: TargetRef | None = None) -> str:
    """
    Return the name of the signal for *metric*: its own where that says it all.

    >>> query_name(MetricName(name="queue"))
    'queue'
    >>> query_name(MetricName(name="queue", selector=Selector(match_labels={"q": "a"})))
    '{"metric":"queue","selector":"q=a"}'
    """
    selector = selector_text(metric.selector)
    if not selector and described is None:
        return metric.name
    query = MetricQuery(
        metric=metric.name,
        selector=selector,
        kind=described.kind if described else "",
        api_version=described.api_version if described else "",
        object=described.name if described else "",
    )
    return msgspec.json.encode(query).decode()


def query_of(name: str) -> MetricQuery:
    """
    Return what a signal's name asks for.

    >>> query_of("queue"), query_of('{"metric":"queue","selector":"q=a"}').selector
    (MetricQuery(metric='queue', selector='', kind='', api_version='', object=''), 'q=a')
    """
    if not name.startswith("{"):
        return MetricQuery(metric=name)
    try:
        return msgspec.json.decode(name, type=MetricQuery)
    except msgspec.MsgspecError:
        return MetricQuery(metric=name)


def query_for(query: str, workload: str) -> str:
    """
    Return a user's query with `$namespace` and `$workload` replaced by those of the workload (by key).

    So one query in a policy's defaults can be each workload's own.

    >>> query_for('sum(lag{namespace="$namespace", app="$workload"})', "shop/Deployment/web")
    'sum(lag{namespace="shop", app="web"})'
    """
    if "$" not in query:
        return query
    namespace, _, name = workload.split("/", 2)
    return query.replace("$namespace", namespace).replace("$workload", name)


def selector_text(selector: Selector | None) -> str:
    """
    Return a selector as the API server takes it in a URL, "" where it selects all.

    Source: apimachinery `pkg/apis/meta/v1` LabelSelectorAsSelector, `pkg/labels` Requirement.String.
    """
    if selector is None:
        return ""
    terms = [f"{key}={value}" for key, value in selector.match_labels.items()]
    for each in selector.match_expressions:
        values = ",".join(sorted(each.values))
        written = {
            "In": f"{each.key} in ({values})",
            "NotIn": f"{each.key} notin ({values})",
            "Exists": each.key,
            "DoesNotExist": f"!{each.key}",
        }
        terms.append(written.get(each.operator, ""))
    return ",".join(sorted(term for term in terms if term))
