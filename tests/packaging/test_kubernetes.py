"""deploy/kubernetes: its variables are settings, its parts fit together, and Kubernetes understands it."""

import re
import shutil
import subprocess

import pytest
import yaml

from deployed import image_variables, instructions, server_commands, settings_of
from docs_page import ROOT
from openapi_document import openapi

FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS = {
    each["kind"]: each
    for file in KUSTOMIZATION["resources"]
    for each in yaml.safe_load_all((FOLDER / file).read_text())
}
POD = OBJECTS["Deployment"]["spec"]["template"]
(SERVER,) = POD["spec"]["containers"]
CONTAINERS = [SERVER, *POD["spec"]["initContainers"]]
#: What the page puts into the secret.
SECRET = re.findall(r"--from-literal=(\w+)=", (ROOT / "docs/how-to/containers.md").read_text())


def test_every_file_is_a_resource_of_one_kind_each():
    assert sorted(KUSTOMIZATION["resources"]) == sorted(
        file.name for file in FOLDER.iterdir() if file.name != "kustomization.yaml"
    )
    assert sorted(OBJECTS) == [
        "ConfigMap", "Deployment", "Ingress", "Namespace", "PodDisruptionBudget", "Service"
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_puts_them_together():
    ran = subprocess.run(
        [shutil.which("kubectl"), "kustomize", str(FOLDER)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    made = {each["kind"]: each for each in yaml.safe_load_all(ran.stdout)}
    assert sorted(made) == sorted(OBJECTS)
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        made["Service"]["spec"]["selector"],
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    (image,) = KUSTOMIZATION["images"]
    assert {container["image"] for container in made["Deployment"]["spec"]["template"]["spec"]["containers"]} == {
        f"{image['newName']}:{image['newTag']}"
    }


def test_variables_are_settings_and_commands_are_installed(monkeypatch):
    given = OBJECTS["ConfigMap"]["data"]
    assert {type(value) for value in given.values()} == {str}
    assert not set(given) & set(SECRET)
    values = {"HEADWATER_DATABASE_URL": "postgresql+psycopg://headwater@db/headwater"}
    secret = {name: values.get(name, "k" * 64) for name in SECRET}
    settings = settings_of(image_variables() | given | secret, monkeypatch)
    assert (settings.is_embedded, settings.lake_url) == (False, "s3://headwater")
    (mount,) = [mount["mountPath"] for mount in SERVER["volumeMounts"] if mount["name"] == "data"]
    assert str(settings.data).startswith(f"{mount}/")
    (size,) = [each["emptyDir"]["sizeLimit"] for each in POD["spec"]["volumes"] if each["name"] == "data"]
    assert settings.lake_cache < int(size.removesuffix("Gi")) << 30
    for container in CONTAINERS:
        assert set(container["args"]) <= server_commands()
        assert [*container["envFrom"][0]["configMapRef"].values()] == [OBJECTS["ConfigMap"]["metadata"]["name"]]


def test_probes_ask_for_what_there_is_at_the_port_of_the_image():
    (port,) = SERVER["ports"]
    assert port["containerPort"] == int(image_variables()["HEADWATER_PORT"])
    paths = openapi()["paths"]
    probes = {name: SERVER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    for probe in probes.values():
        assert probe["port"] == port["name"]
        assert "get" in paths[probe["path"]]
    assert (probes["livenessProbe"]["path"], probes["readinessProbe"]["path"]) == ("/healthz", "/readyz")


def test_the_service_and_the_ingress_lead_to_the_server():
    assert OBJECTS["Service"]["spec"]["selector"].items() <= POD["metadata"]["labels"].items()
    (served,) = OBJECTS["Service"]["spec"]["ports"]
    assert served["targetPort"] == SERVER["ports"][0]["name"]
    (rule,) = OBJECTS["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {
        "name": OBJECTS["Service"]["metadata"]["name"],
        "port": {"name": served["name"]},
    }
    assert OBJECTS["ConfigMap"]["data"]["HEADWATER_PUBLIC_URL"] == f"https://{rule['host']}"


def test_containers_run_with_no_more_rights_than_they_need():
    (user,) = [each.text.partition(":")[0] for each in instructions() if each.name == "USER"]
    pod = POD["spec"]["securityContext"]
    assert (pod["runAsNonRoot"], str(pod["runAsUser"])) == (True, user)
    for container in CONTAINERS:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # What the server writes besides its data.
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/tmp"}  # noqa: S108
