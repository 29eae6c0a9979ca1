"""Lints and renders the Helm chart with each file of values, and checks what comes out.

Usage: chart.py HELM PROGRAM. Needs the packages kubernetes-validate, which has the schemas of Kubernetes, and PyYAML.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

HELM, PROGRAM = sys.argv[1:]
CHECKS = pathlib.Path(__file__).resolve().parent
REPOSITORY = CHECKS.parents[1]
CHART = CHECKS.parent / "helm/purposegate"
KUBERNETES = "1.35"
KEYS = "purposegate keys 1\n" + "".join(f"{name} = {'5a' * 32}\n" for name in ("pseudonym", "ledger", "log"))


def helm(*words, fails=False):
    ran = subprocess.run([HELM, *words], capture_output=True, text=True)
    assert (ran.returncode != 0) == fails, f"helm {' '.join(words)}: {ran.stdout}{ran.stderr}"
    return ran.stdout + (ran.stderr if fails else "")


def render(values):
    text = helm("template", "gate", str(CHART), "--namespace", "shop", "--values", str(values))
    return [document for document in yaml.safe_load_all(text) if document]


def validate(documents):
    monitor = json.loads((CHECKS / "servicemonitor.schema.json").read_text())
    for document in documents:
        if document["kind"] == "ServiceMonitor":
            jsonschema.validate(document, monitor)
        else:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def one(documents, kind, name="gate-purposegate"):
    found = [document for document in documents if document["kind"] == kind and document["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return found[0]


def check_pod(documents, values):
    """Checks what Kubernetes' schemas do not say: confinement, time to drain, and that every mount has its volume."""
    workload = one(documents, "StatefulSet")["spec"]
    pod = workload["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == confined, container["securityContext"]
    longest = values["drainSeconds"] + values["drainNoticeSeconds"]
    assert pod["terminationGracePeriodSeconds"] >= longest + 5, pod["terminationGracePeriodSeconds"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in workload["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes, volumes
    ports = {port["name"] for port in container["ports"]}
    for service in (document for document in documents if document["kind"] == "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    return pod, container


def check_network_policies(documents, values):
    rules = one(documents, "NetworkPolicy")["spec"]["ingress"]
    by_port = {rule["ports"][0]["port"]: rule.get("from") for rule in rules}
    assert by_port.get("admin") != [], "the admin API is open to everybody"
    assert ("admin" in by_port) == bool(values["admin"]["exposed"] and values["networkPolicy"]["adminFrom"]), by_port
    if not values["api"]["podSelector"]:
        return
    api = one(documents, "NetworkPolicy", "gate-purposegate-api")
    assert api["spec"]["podSelector"]["matchLabels"] == values["api"]["podSelector"]
    only = api["spec"]["ingress"][0]["from"]
    pod_labels = one(documents, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert len(only) == 1 and only[0]["podSelector"]["matchLabels"].items() <= pod_labels.items(), only
    assert only[0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "shop"}, only


def contents(volume, documents, certificates):
    """Returns the files of a mounted volume: those of the chart, and samples for what the user brings."""
    if "configMap" in volume:
        name = volume["configMap"]["name"]
        if name == "acme-pack":
            pack = REPOSITORY / "policies/one-partner-360"
            return {file.name: file.read_text() for file in pack.iterdir() if file.is_file()}
        return one(documents, "ConfigMap", name)["data"]
    if "projected" in volume:
        return {"password": "sample\n", "ca.crt": (certificates / "ca.pem").read_text()}
    name = volume["secret"]["secretName"]
    if name == "purposegate-keys":
        return {"keys": KEYS}
    if name.endswith("-tls"):
        files = {"tls.crt": "server.pem", "tls.key": "server.key", "ca.crt": "ca.pem"}
        return {key: (certificates / file).read_text() for key, file in files.items()}
    return {"authorization": "Bearer sample"}


def check_configuration(documents, pod, container):
    """Lays the pod's files out in a folder, and has the program check the configuration."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    with tempfile.TemporaryDirectory(prefix="purposegate-chart-") as folder:
        root = pathlib.Path(folder)
        certificates = root / "certificates"
        subprocess.run([PROGRAM, "certs", "dev", "--out", certificates], check=True, stdout=subprocess.DEVNULL)
        for mount in container["volumeMounts"]:
            to = root / mount["mountPath"].lstrip("/")
            to.mkdir(parents=True)
            if mount["name"] not in volumes:
                continue  # The claim, which is empty at first.
            for name, text in contents(volumes[mount["name"]], documents, certificates).items():
                for path in ("/etc/purposegate/", "/var/lib/purposegate/"):
                    text = text.replace(path, f"{root}{path}")
                text = text.replace("/usr/share/purposegate/policies", str(REPOSITORY / "policies"))
                (to / name).write_text(text)
                (to / name).chmod(0o600)
        arguments = container["args"]
        file = str(root) + arguments[arguments.index("--config") + 1]
        ran = subprocess.run([PROGRAM, "check", "--config", file, "--format", "json"], capture_output=True, text=True)
        findings = json.loads(ran.stdout)["findings"]
    assert ran.returncode == 0, json.dumps(findings, indent=2)
    return {finding["code"] for finding in findings}


def merged(defaults, values):
    both = lambda key: isinstance(defaults.get(key), dict) and isinstance(values[key], dict)
    return defaults | {key: merged(defaults[key], values[key]) if both(key) else values[key] for key in values}


def check_refusals():
    """Values that must not render."""
    for setting in ("replicas=2", "admin.exposed=true", "keys.secretName=", "ledger.url=mysql://x", "listener.prot=1"):
        helm("template", "gate", str(CHART), "--set", setting, fails=True)
    helm("template", "gate", str(CHART), "--set", "admin.exposed=true,admin.tls.secretName=x", fails=True)


def main():
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for file in [CHART / "values.yaml", *sorted((CHART / "ci").glob("*.yaml"))]:
        helm("lint", "--strict", "--quiet", str(CHART), "--values", str(file))
        values = merged(defaults, yaml.safe_load(file.read_text()))
        documents = render(file)
        validate(documents)
        pod, container = check_pod(documents, values)
        check_network_policies(documents, values)
        warnings = check_configuration(documents, pod, container)
        print(f"  {file.name}: {len(documents)} manifests; warnings of `check`: {', '.join(sorted(warnings)) or 'none'}")
    check_refusals()


main()
