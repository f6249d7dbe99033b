"""Valid documents to start from."""

from __future__ import annotations

from typing import Any

FULL_MPA = """\
apiVersion: podnode.io/v1alpha1
kind: MultidimPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  goals:
    metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}
    - type: Prometheus
      prometheus:
        name: requests
        query: sum(rate(http_requests_total{namespace="shop", service="web"}[2m]))
        target: {type: AverageValue, averageValue: "50"}
        activation: "1"
        absent: LastFor
        lastFor: 5m
    formula: "max(requests, cpu * 0.8)"
    slo:
      class: LatencySensitive
      latency: {query: 'histogram_quantile(0.95, x)', target: 250ms}
  constraints:
    global: {minReplicas: 2, maxReplicas: 60, requests: {minAllowed: {}, maxAllowed: {cpu: "40"}}}
    containerControlledResources: [cpu, memory]
    container:
    - name: "*"
      requests: {minAllowed: {cpu: 50m, memory: 64Mi}, maxAllowed: {cpu: "4", memory: 8Gi}}
      limits: RequestsOnly
  policy:
    updateMode: Auto
    engine: joint
    resize: InPlaceOrRecreate
    behavior:
      scaleUp: {policies: [{type: Percent, value: 100, periodSeconds: 15}], selectPolicy: Max, tolerance: 0.05}
    schedules:
    - {name: sale, schedule: "0 8 27 11 *", timeZone: Europe/Berlin, duration: 12h, minReplicas: 20}
    forecast: Auto
    pause: {down: true, until: "2030-01-31T08:00:00Z"}
"""

FULL_POLICY = """\
apiVersion: podnode.io/v1alpha1
kind: ScalingPolicy
metadata: {name: everything}
spec:
  workloads:
    namespaceSelector: {}
    labelSelector: {matchExpressions: [{key: tier, operator: In, values: [web]}]}
  mode: Recommend
  defaults: {goals: {}, constraints: {global: {minReplicas: 2}}, policy: {engine: hpa}}
  objective:
    money: {perDay: "500", onExceed: Degrade}
    headroom: {quantile: "0.97", nodes: Pooled}
  disruption:
    budgets: [{nodes: "10%", pods: "5%", reasons: [Consolidation], schedule: "0 9 * * mon-fri", duration: 8h}]
    minSavingsPerEviction: "0.002"
  signals: {staleAfter: 90s, absent: Hold, minCoverage: "0.8"}
  nodes:
    engine: joint
    consolidation: Joint
    consolidateAfter: 2m
    spot: {maxShare: "0.6", onDemandBase: 3}
    limits: {cpu: "2000", memory: 8Ti}
"""

FULL_GROUP = """\
apiVersion: podnode.io/v1alpha1
kind: NodeGroup
metadata: {name: general}
spec:
  provider: aws
  match: {tags: {podnode.io/enabled: "true"}}
  size: {min: 0, max: 40}
  requirements:
  - {key: karpenter.k8s.aws/instance-family, operator: In, values: [m7i, c7i, r7i]}
  - {key: karpenter.k8s.aws/instance-cpu, operator: Gt, values: ["3"]}
  capacityTypes: [on-demand, spot]
  template: {labels: {}, taints: [{key: a, effect: NoSchedule}]}
  price: {adjustment: "-28%"}
  weight: 10
  backend: {kind: Declarative, ref: {apiVersion: eks.services.k8s.aws/v1alpha1, kind: Nodegroup, name: web}}
"""

FULL_TENANT = """\
apiVersion: podnode.io/v1alpha1
kind: Tenant
metadata: {name: payments}
spec:
  namespaces: {selector: {matchLabels: {team: payments}}}
  weight: 2
  budget: {perDay: "120", onExceed: Alert}
  quota:
    mode: Recommend
    floor: {cpu: "8"}
    ceiling: {cpu: "80", memory: 320Gi, requests.nvidia.com/gpu: "2"}
    from: {quantile: "0.99", days: 28, margin: 20%}
  onboarding: {limitRange: {}, resourceQuota: {}}
  chargeTo: cost-centre-4711
"""

GKE = """\
apiVersion: autoscaling.gke.io/v1beta1
kind: MultidimPodAutoscaler
metadata: {name: php-apache-autoscaler}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: php-apache}
  goals:
    metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
  constraints:
    global: {minReplicas: 1, maxReplicas: 5}
    containerControlledResources: [memory]
    container:
    - name: '*'
      requests: {minAllowed: {memory: 1Gi}, maxAllowed: {memory: 2Gi}}
  policy:
    updateMode: Auto
"""

ALL = "---\n".join([FULL_MPA, FULL_POLICY, FULL_GROUP, FULL_TENANT, GKE])


def changed(value: Any, path: tuple[str | int, ...], to: Any) -> Any:
    """Return a copy of a plain value with one place changed; a mapping may gain a key."""
    if not path:
        return to
    head, rest = path[0], path[1:]
    if isinstance(value, list):
        assert isinstance(head, int)
        return [changed(item, rest, to) if index == head else item for index, item in enumerate(value)]
    return {**value, head: changed(value.get(head, {}), rest, to)}
