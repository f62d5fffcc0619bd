"""Components around the gateway: what each adds is what the gateway understands, and callers meet."""

import functools
import ssl
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from deploy.checking import gateway, kustomize
from deploy.checking.kustomize import Manifest
from deploy.checking.objects import named, of_kind
from deploy.checking.paths import DEPLOY
from serve.pb import experiments_pb2, open_inference_pb2
from serve.settings import Config
from tests.e2e.secure import secured
from tests.pki import Authority

pytestmark = pytest.mark.needs_program("kubectl", how="https://kubernetes.io/docs/tasks/tools/#kubectl")

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@functools.cache
def with_component(name: str) -> list[Manifest]:
    """The overlay dev-cpu and the component."""
    return kustomize.build_with(DEPLOY / "overlays" / "dev-cpu", DEPLOY / "components" / name)


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """An object that must be there."""
    found = named(manifests, kind, name)
    assert found is not None, f"{kind}/{name}"
    return found


def config_of(name: str) -> Config:
    """What the gateway reads with the component; it must not refuse it."""
    manifests = with_component(name)
    assert list(gateway.refusals(manifests)) == []
    found = gateway.gateway(manifests)
    assert found is not None
    return found.config


def container(name: str) -> dict[str, Any]:
    """The gateway's own container with the component."""
    found: dict[str, Any] = one(with_component(name), "Deployment", "gateway")["spec"]["template"]["spec"][
        "containers"
    ][0]
    return found


def mounts(name: str) -> dict[str, str]:
    """Secret by the folder in which the gateway has it."""
    spec = one(with_component(name), "Deployment", "gateway")["spec"]["template"]["spec"]
    secrets = {
        volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume
    }
    found = spec["containers"][0]["volumeMounts"]
    return {mount["mountPath"]: secrets[mount["name"]] for mount in found if mount["name"] in secrets}


def test_with_tls_the_kubelet_asks_over_https() -> None:
    """Its gRPC probes know no TLS; the certificate is where the Secret is, and callers' are not asked for."""
    config = config_of("tls")
    for probe in PROBES:
        assert "grpc" not in container("tls")[probe]
        assert container("tls")[probe]["httpGet"]["scheme"] == "HTTPS"
    assert config.tls.certificate
    assert config.tls.key
    for file in (config.tls.certificate, config.tls.key):
        assert mounts("tls")[str(file.parent)] == "gateway-tls"
    assert {config.tls.certificate.name, config.tls.key.name} == {"tls.crt", "tls.key"}
    assert config.tls.client_ca is None
    for service in of_kind(with_component("tls"), "Service"):
        if service["metadata"]["labels"]["app.kubernetes.io/name"] == "gateway":
            assert {
                port.get("appProtocol") for port in service["spec"]["ports"] if port["name"] != "metrics"
            } == {"https"}


@pytest.mark.slow
@pytest.mark.parametrize("client_ca", [False, True])
def test_the_probes_of_tls_are_answered_unless_callers_must_show_a_certificate(
    client_ca: bool, tmp_path: Path
) -> None:
    """As a kubelet asks, which checks no certificate and shows none; no model has been found yet."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    settings = {"tls": {"client_ca": str(tmp_path / "ca.pem")}} if client_ca else {}
    kubelet = ssl.create_default_context()
    kubelet.check_hostname, kubelet.verify_mode = False, ssl.CERT_NONE
    with secured(tmp_path, authority, settings) as running:
        for probe in PROBES:
            connection = HTTPSConnection(*running.http_door, context=kubelet, timeout=20)
            path = container("tls")[probe]["httpGet"]["path"]
            if client_ca:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    _status(connection, path)
            else:
                assert _status(connection, path) == (503 if probe == "readinessProbe" else 200)


def _status(connection: HTTPSConnection, path: str) -> int:
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_postgres_comes_by_reference() -> None:
    """Store and keys are in Secrets, the address is as operators write it, and 5432 may be reached."""
    config = config_of("postgres")
    assert config.experiments.enabled
    assert config.experiments.store_url.startswith("postgresql+psycopg://")
    assert config.experiments.keys_file
    assert mounts("postgres")[str(config.experiments.keys_file.parent)] == "gateway-experiment-keys"
    (egress,) = one(with_component("postgres"), "NetworkPolicy", "gateway-store")["spec"]["egress"]
    assert egress["ports"] == [{"port": 5432}]


def test_traces_go_where_the_policy_lets_them() -> None:
    """Namespace and port of the collector are those that the policy opens."""
    endpoint = config_of("tracing").tracing.endpoint
    (egress,) = one(with_component("tracing"), "NetworkPolicy", "gateway-traces")["spec"]["egress"]
    (to,) = egress["to"]
    namespace = to["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    pods = to["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
    assert endpoint == f"http://{pods}.{namespace}.svc:{egress['ports'][0]['port']}"


def test_the_gateways_scale_on_the_cpu_that_they_request() -> None:
    """Without a request there is no utilisation; two at least, so that one may go."""
    manifests = kustomize.build(DEPLOY / "overlays" / "production-gpu")
    hpa = one(manifests, "HorizontalPodAutoscaler", "gateway")["spec"]
    target = one(manifests, hpa["scaleTargetRef"]["kind"], hpa["scaleTargetRef"]["name"])
    (metric,) = hpa["metrics"]
    for own in target["spec"]["template"]["spec"]["containers"]:
        assert metric["resource"]["name"] in own["resources"]["requests"]
    assert hpa["minReplicas"] >= 2


def test_the_way_in_knows_every_service_and_path() -> None:
    """Routes have the gateway's own gRPC services and REST's paths, one host, and ports that exist."""
    manifests = with_component("gateway-api")
    grpc, http = (
        one(manifests, "GRPCRoute", "attnserve")["spec"],
        one(manifests, "HTTPRoute", "attnserve")["spec"],
    )
    services = {
        service.full_name
        for module in (open_inference_pb2, experiments_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    matched = {match["method"]["service"] for rule in grpc["rules"] for match in rule["matches"]}
    assert matched == {*services, "grpc.health.v1.Health"}
    prefixes = {match["path"]["value"] for rule in http["rules"] for match in rule["matches"]}
    assert prefixes == {"/v1", "/v2"}
    (listener,) = one(manifests, "Gateway", "attnserve")["spec"]["listeners"]
    ports = {port["port"] for port in one(manifests, "Service", "gateway")["spec"]["ports"]}
    for route in (grpc, http):
        assert route["hostnames"] == [listener["hostname"]]
        assert route["parentRefs"] == [{"name": "attnserve", "sectionName": listener["name"]}]
        (backend,) = [backend for rule in route["rules"] for backend in rule["backendRefs"]]
        assert (backend["name"], backend["port"] in ports) == ("gateway", True)


def test_the_way_in_waits_longer_than_the_gateway() -> None:
    """So that a late answer comes with the gateway's reason and not with the controller's."""
    config = config_of("gateway-api")
    (rule,) = one(with_component("gateway-api"), "HTTPRoute", "attnserve")["spec"]["rules"]
    assert {float(value.removesuffix("s")) for value in rule["timeouts"].values()} == {
        config.request_timeout_s + 5
    }
