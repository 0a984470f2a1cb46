"""The manifests in deploy/kubernetes: their schemas, what kernels may do there, and a gateway with their settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from ..support.gateways import Begin, gateways
from ..support.ports import free_port
from ..support.scrapes import parsed

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.28", "1.32", kubernetes_validate.latest_version())
"""From the oldest that somebody may still run."""


def documents(name: str) -> list[dict[str, Any]]:
    # Kubernetes reads YAML 1.1, to which 0440 is another number than to YAML 1.2.
    yaml = YAML(typ="safe")
    yaml.version = (1, 1)
    return list(yaml.load_all((FOLDER / name).read_text()))


MANIFESTS = [one for name in ("gateway.yaml", "network.yaml") for one in documents(name)]
DEPLOYMENT, SERVICE, POLICY = MANIFESTS
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
ENVIRON = {one["name"]: one["value"] for one in CONTAINER["env"]}
PORTS = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_it_is_what_kubernetes_takes(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelled_field_is_found() -> None:
    wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_all_files_are_used_and_the_token_is_no_part_of_them() -> None:
    [kustomization] = documents("kustomization.yaml")
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert {*kustomization["resources"], "kustomization.yaml"} == files
    [secret] = kustomization["secretGenerator"]
    [volume] = [one["secret"] for one in POD["volumes"] if "secret" in one]
    assert (volume["secretName"], secret["files"]) == (secret["name"], ["token"])
    assert volume["defaultMode"] == 0o440
    [mount] = [one for one in CONTAINER["volumeMounts"] if one["name"] == "token"]
    assert ENVIRON["KG_AUTH_TOKEN_FILE"] == f"{mount['mountPath']}/token"
    assert "KG_AUTH_TOKEN" not in ENVIRON


def test_one_gateway_and_all_who_look_for_it_find_it() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert SERVICE["spec"]["selector"] == labels == POLICY["spec"]["podSelector"]["matchLabels"]
    assert (DEPLOYMENT["spec"]["replicas"], DEPLOYMENT["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert {one["targetPort"]: one["port"] for one in SERVICE["spec"]["ports"]} == PORTS
    for rule in POLICY["spec"]["ingress"]:
        assert {one["port"] for one in rule["ports"]} <= PORTS.keys()


def test_kernels_can_do_nothing_in_the_cluster() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # Of some clouds, the keys of the whole account are at an address that each pod reaches.
    [outside] = [peer["ipBlock"] for rule in POLICY["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    assert "169.254.0.0/16" in outside["except"]


@pytest.fixture
def begin(tmp_path: Path) -> Any:
    with gateways(tmp_path) as begin:
        yield begin


async def test_the_gateway_serves_as_the_manifest_says(begin: Begin, tmp_path: Path) -> None:
    """With its variables, but for the path and the port that are the pod's own; probes call the pod by its address."""
    (tmp_path / "token").write_text("a-token-of-the-tests\n")
    metrics = free_port()
    ours = {"KG_AUTH_TOKEN_FILE": str(tmp_path / "token"), "KG_METRICS_PORT": str(metrics)}
    assert ENVIRON.keys() > ours.keys()
    gateway = begin(env=ENVIRON | ours)
    url, as_the_pod = f"http://127.0.0.1:{gateway.port}", {"Host": "10.1.2.3:8888"}
    async with httpx.AsyncClient(base_url=url, headers=as_the_pod, timeout=60, trust_env=False) as http:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = CONTAINER[probe]["httpGet"]
            assert asked["port"] == "http"
            assert (await http.get(asked["path"])).status_code == 200
        assert (await http.get("/api/kernels")).status_code == 401
        token = {"Authorization": "token a-token-of-the-tests"}
        assert (await http.post("/api/kernels", json={"name": "tiny_plain"}, headers=token)).status_code == 201
        numbers = parsed(await http.get(f"http://127.0.0.1:{metrics}/metrics"))
        assert numbers["fps_kernels_kernels{tiny_plain,idle}"] == 1
    assert all(json.loads(line)["time"] for line in gateway.log.splitlines())
