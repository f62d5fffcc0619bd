"""Panels of the fleet's lower half: the gateways' processes and files, and what Kubernetes runs.

What Kubernetes runs is told by kube-state-metrics; elsewhere these panels stay empty.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import DashboardRangeMapOptions, RangeMap, ValueMappingResult

from deploy.monitoring.dashboards.parts import (
    GREEN,
    NAMESPACE,
    ORANGE,
    RED,
    About,
    Panel,
    State,
    lines,
    now,
    number,
    query,
    states,
)

# Every gateway has this series once, whatever it serves.
GATEWAY: Final = f"attnserve_certificate_expires_timestamp_seconds{{{NAMESPACE}}}"

_DAY_S: Final = 86_400.0
_CENTURY_S: Final = 36_525 * _DAY_S  # what ends later, ends never: +Inf stands for it
_DEPLOYMENT: Final = f'{NAMESPACE}, deployment=~"gateway|worker-.*"'
_SCALER: Final = "namespace, horizontalpodautoscaler"


def gateways() -> list[Panel]:
    """Of the gateways' processes, and of the files that they have read."""
    return [*_processes(), *_files()]


def _processes() -> list[Panel]:
    mine = f"and on (namespace, instance) {GATEWAY}"
    return [
        lines(
            About(
                "CPU",
                "Cores that each gateway's process uses. Its event loop has one thread: near 1 it is the "
                "bottleneck, and another gateway helps.",
                "suffix:cores",
            ),
            query(f"rate(process_cpu_seconds_total{{{NAMESPACE}}}[$__rate_interval]) {mine}", "{{instance}}"),
            limits={0.8: ORANGE},
        ),
        lines(
            About("Memory", "Resident memory of each gateway's process.", "bytes"),
            query(f"process_resident_memory_bytes{{{NAMESPACE}}} {mine}", "{{instance}}"),
        ),
        lines(
            About(
                "Open files",
                "Connections for the most part, as a share of what the process may open.",
                "percentunit",
            ),
            query(f"process_open_fds{{{NAMESPACE}}} / process_max_fds{{{NAMESPACE}}} {mine}", "{{instance}}"),
            limits={0.8: ORANGE},
        ),
    ]


def _files() -> list[Panel]:
    reloaded = f"min by (namespace, what) (attnserve_config_reload_success{{{NAMESPACE}}})"
    lost = f"sum(increase(attnserve_audit_write_failures_total{{{NAMESPACE}}}[$__range]))"
    return [
        states(
            About(
                "Files in force",
                "Whether the newest tokens, certificates, experiment keys and experiments are in force in "
                "all gateways; else an older version had to stay, and the log says why.",
                "none",
            ),
            (State(1, "newest", GREEN), State(0, "older", RED)),
            query(reloaded, "{{what}}"),
        ),
        _ends_in(
            "Certificate ends in",
            "Of the certificate of the gateways' doors, the first to end; 'never' without TLS in the "
            "gateway.",
            "certificate",
            "namespace",
        ),
        _ends_in(
            "Tokens end in",
            "For how long each token can still be used; 'never' where it has no end.",
            "token",
            "token",
        ),
        number(
            About(
                "Audit lines lost",
                "Lines that the audit file did not take, in the time shown: the disk is full, or gone.",
                "short",
            ),
            now(lost, "lines"),
            limits={1: RED},
        ).height(8),
    ]


def _ends_in(title: str, text: str, what: str, label: str) -> Panel:
    """How long something is still good for: red in its last week, orange in its last month."""
    by = ", ".join(dict.fromkeys(("namespace", label)))
    ends = f"min by ({by}) (attnserve_{what}_expires_timestamp_seconds{{{NAMESPACE}}}) - time()"
    panel = number(
        About(title, text, "s"),
        now(ends, f"{{{{{label}}}}}"),
        limits={7 * _DAY_S: ORANGE, 30 * _DAY_S: GREEN},
        below=RED,
    ).height(8)
    never = ValueMappingResult(text="never", color=GREEN, index=0)
    return panel.mappings([RangeMap(DashboardRangeMapOptions(from_val=_CENTURY_S, result=never))])


def kubernetes() -> list[Panel]:
    """Of Deployments, autoscalers and containers."""
    return [*_replicas(), *_restarts()]


def _replicas() -> list[Panel]:
    desired = f"sum by (namespace, deployment) (kube_deployment_spec_replicas{{{_DEPLOYMENT}}})"
    available = f"sum by (namespace, deployment) (kube_deployment_status_replicas_available{{{_DEPLOYMENT}}})"
    wanted = f"max by ({_SCALER}) (kube_horizontalpodautoscaler_status_desired_replicas{{{NAMESPACE}}})"
    most = f"max by ({_SCALER}) (kube_horizontalpodautoscaler_spec_max_replicas{{{NAMESPACE}}})"
    return [
        lines(
            About(
                "Replicas",
                "Pods of each Deployment that are wanted, and that are available. Where fewer are available "
                "for long, pods are pending (no GPU is free) or do not get ready.",
                "suffix:pods",
            ),
            query(desired, "{{deployment}}, wanted"),
            query(available, "{{deployment}}, available"),
        ).span(12),
        lines(
            About(
                "Autoscalers",
                "Pods that each autoscaler asks for, and the most that it may. At the most, load is shed.",
                "suffix:pods",
            ),
            query(wanted, "{{horizontalpodautoscaler}}"),
            query(most, "{{horizontalpodautoscaler}}, at most"),
        ).span(12),
    ]


def _restarts() -> list[Panel]:
    active = (
        f"min by ({_SCALER}) (kube_horizontalpodautoscaler_status_condition"
        f'{{{NAMESPACE}, condition="ScalingActive", status="true"}})'
    )
    restarts = (
        "sum by (namespace, container) "
        f"(increase(kube_pod_container_status_restarts_total{{{NAMESPACE}}}[$__rate_interval]))"
    )
    return [
        lines(
            About(
                "Containers restarted",
                "When it happens: the kubelet's work, in contrast to a gateway's restart of its own engine.",
                "short",
            ),
            query(restarts, "{{container}}"),
            limits={1: RED},
        ).span(12),
        states(
            About(
                "Autoscalers at work",
                "Whether each autoscaler can read its metric. One that cannot leaves the replicas as they "
                "are.",
                "none",
            ),
            (State(1, "scales", GREEN), State(0, "cannot", RED)),
            query(active, "{{horizontalpodautoscaler}}"),
        ),
    ]
