"""How pods leave: first new calls stop coming, then those in hand are answered, then the time is up."""

from collections.abc import Iterator, Sequence

from deploy.checking.contract_ports import WORKER_PROPERTIES, properties
from deploy.checking.gateway import gateway, main_container, mounted_file, workers
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import Pod, of_kind, pods, selects, title

# What Kubernetes grants where nothing is set, in seconds.
_DEFAULT_GRACE_S = 30
_CONNECTION_GRACE = "grpc_inference_max_connection_age_grace_ms"


def graces(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Pods that are killed before they have answered what they had begun."""
    found = gateway(manifests)
    if found is None:
        return
    drain_s, call_s = found.config.drain_timeout_s, found.config.request_timeout_s
    yield from _grace(found.pod, drain_s, f"drain_timeout_s, {drain_s:g} s")
    if call_s > _pause_s(found.pod) + drain_s:
        yield (
            f"{found.pod.title}: a call may last request_timeout_s, {call_s:g} s, which is more than preStop "
            f"and drain_timeout_s together, {_pause_s(found.pod) + drain_s:g} s: raise drain_timeout_s"
        )
    for pod in workers(manifests):
        yield from _grace(pod, call_s, f"the gateway's request_timeout_s, {call_s:g} s")


def connections(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Workers that cut connections of age with calls still on them."""
    found = gateway(manifests)
    if found is None:
        return
    call_s = found.config.request_timeout_s
    for pod in workers(manifests):
        text = mounted_file(pod, WORKER_PROPERTIES, manifests) or ""
        grace_ms = float(properties(text).get(_CONNECTION_GRACE, "inf"))
        if grace_ms < call_s * 1000:
            yield (
                f"{pod.title}: {_CONNECTION_GRACE} is {grace_ms:g}, less than the gateway's "
                f"request_timeout_s, {call_s:g} s: raise it"
            )


def without_budget(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Lasting pods that a drain of nodes may take away all at once."""
    budgets = list(of_kind(manifests, "PodDisruptionBudget"))
    for pod in pods(manifests):
        if pod.lasting and not any(selects(budget["spec"]["selector"], pod.labels) for budget in budgets):
            yield f"{pod.title} has no PodDisruptionBudget: add one that selects its pods"


def budgets_without_pods(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Budgets that guard nothing, or several workloads as if they were one."""
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        found = [pod.title for pod in pods(manifests) if selects(budget["spec"]["selector"], pod.labels)]
        if not found:
            yield f"{title(budget)} selects no pod: mend its selector, or drop it"
        if len(found) > 1:
            yield f"{title(budget)} selects the pods of {' and '.join(found)} together: give each its own"


def _grace(pod: Pod, work_s: float, what: str) -> Iterator[str]:
    pause_s, grace_s = _pause_s(pod), pod.spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_S)
    if not pause_s:
        yield f"{pod.title} has no preStop sleep, while which calls still arrive: set lifecycle.preStop.sleep"
    if grace_s <= pause_s + work_s:
        yield (
            f"{pod.title}: terminationGracePeriodSeconds is {grace_s}, not more than preStop's {pause_s} s "
            f"and {what}, together: raise it"
        )


def _pause_s(pod: Pod) -> int:
    hook = main_container(pod).get("lifecycle", {}).get("preStop", {})
    seconds: int = hook.get("sleep", {}).get("seconds", 0)
    return seconds
