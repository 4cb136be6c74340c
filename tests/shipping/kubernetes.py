"""kubernetes.py ROOT KUBECTL: renders the chart with each of its ci values, and the example of the sidecar, and holds
everything to Kubernetes' own schemas. What is not Kubernetes' (PodMonitor, PrometheusRule) is held to what it is made of."""

import json
import pathlib
import re
import subprocess
import sys

import helm_python
import kubernetes_validate
import yaml

ROOT, KUBECTL = pathlib.Path(sys.argv[1]), sys.argv[2]
CHART = ROOT / "packaging/helm/streamgauge"
SIDECAR = ROOT / "packaging/kubernetes"
NEWEST = kubernetes_validate.utils.major_minor(kubernetes_validate.latest_version())


def needed(file, words):
    """The oldest Kubernetes that a file says it needs, in the words that stand before it."""
    found = re.search(re.escape(words) + r"(\d+\.\d+)", file.read_text())
    return found.group(1) if found else sys.exit(f"kubernetes.py: {file} does not say what it needs")


# The oldest that the chart and the component say they need, and the newest whose schemas are there.
CHART_VERSIONS = needed(CHART / "Chart.yaml", 'kubeVersion: ">='), NEWEST
SIDECAR_VERSIONS = needed(SIDECAR / "sidecar/kustomization.yaml", "Needs Kubernetes "), NEWEST
OPERATOR = "monitoring.coreos.com/v1"


def fail(text):
    sys.exit(f"kubernetes.py: {text}")


def check(condition, text):
    condition or fail(text)


def valid(documents, versions, where):
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    check(len(set(names)) == len(names), f"{where}: {names}")
    for document in documents:
        for version in versions:
            if document["apiVersion"] != OPERATOR:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except Exception as error:
                    fail(f"{where}: {document['kind']} for {version}: {error}")
    return {kind: [document for document in documents if document["kind"] == kind] for kind, _ in names}


def restricted(container, pod, where):
    """What the pod security standard `restricted` asks, and a root that is not written to."""
    both = pod.get("securityContext", {}) | container["securityContext"]
    check(both["runAsNonRoot"] and both["seccompProfile"]["type"] == "RuntimeDefault", where)
    check(container["securityContext"]["allowPrivilegeEscalation"] is False, where)
    check(container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, where)
    check(container["securityContext"]["readOnlyRootFilesystem"], where)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    return mounted


def rendered(values):
    chart = helm_python.Chart.load(str(CHART))
    chart.validate_schema(values)
    texts = chart.render(values, name="watch", namespace="backups")
    chart.close()
    notes = [text for path, text in texts.items() if path.endswith("NOTES.txt")]
    manifests = [text for path, text in texts.items() if not path.endswith("NOTES.txt")]
    check(len(notes) == 1 and "port-forward" in notes[0], "no notes")
    return [document for text in manifests for document in yaml.safe_load_all(text) if document]


def chart():
    cases = sorted(CHART.glob("ci/*-values.yaml"))
    check(len(cases) >= 3, "no ci values")
    rules = yaml.safe_load((ROOT / "alerts/streamgauge.rules.yml").read_text())
    count = 0
    for case in cases:
        values = yaml.safe_load(case.read_text())
        linted = helm_python.lint(str(CHART), values, strict=True)
        bad = [message for message in linted["messages"] if message["severity"] >= 2]
        check(not bad and not linted["errors"], f"{case.name}: {linted}")
        kinds = valid(rendered(values), CHART_VERSIONS, case.name)
        count += sum(map(len, kinds.values()))
        (controller,) = kinds["StatefulSet"]
        pod = controller["spec"]["template"]["spec"]
        mounted = restricted(pod["containers"][0], pod, case.name)
        shards = values.get("shards", 1)
        told = f"--shard=hostname/{shards}" in pod["containers"][0]["args"]
        check(controller["spec"]["replicas"] == shards and told == (shards > 1), f"{case.name}: {shards} shards")
        claimed = {claim["metadata"]["name"] for claim in controller["spec"].get("volumeClaimTemplates", [])}
        check(mounted == claimed | {volume["name"] for volume in pod["volumes"]}, f"{case.name}: {mounted}")
        for kind in ("PodMonitor", "PrometheusRule", "NetworkPolicy"):
            key = kind[0].lower() + kind[1:]
            check((kind in kinds) == values.get(key, {}).get("enabled", False), f"{case.name}: {kind}")
        for rule in kinds.get("PrometheusRule", []):
            check(rule["spec"] == rules, f"{case.name}: these are not the rules of alerts/")
        for config in kinds.get("ConfigMap", []):
            for name, text in config["data"].items():
                if name.endswith(".json"):
                    same = json.loads(text) == json.loads((ROOT / "dashboards" / name).read_text())
                    check(same, f"{case.name}: {name} is not that of dashboards/")
    everything = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())
    kinds = valid(rendered(everything), CHART_VERSIONS, "everything")
    (boards,) = [config for config in kinds["ConfigMap"] if config["metadata"]["name"].endswith("-dashboards")]
    check(len(boards["data"]) == len(list((ROOT / "dashboards").glob("*.json"))), "a dashboard is missing")
    check(len(json.dumps(boards)) < 1 << 20, "Kubernetes takes no larger ConfigMap")
    check("Secret" not in kinds, "the Secret that exists is used")
    return count


def mistakes():
    for values, words in [
        ({"config": "x", "podMonitors": {"enabled": True}}, "podMonitors"),
        ({"config": "x", "podMonitor": {"enabled": "yes"}}, "boolean"),
        ({"config": "x", "image": {"digest": "latest"}}, "digest"),
        ({"config": "x", "shards": 0}, "shards"),
        ({}, "at least one [[observe]]"),
    ]:
        try:
            rendered(values)
        except helm_python.HelmError as error:
            check(words in str(error), f"{values}: {error}")
        else:
            fail(f"{values} is taken")


def sidecar():
    built = subprocess.run([KUBECTL, "kustomize", SIDECAR / "example"], capture_output=True, text=True)
    check(built.returncode == 0 and not built.stderr, built.stderr)
    kinds = valid(list(yaml.safe_load_all(built.stdout)), SIDECAR_VERSIONS, "example")
    pod = kinds["StatefulSet"][0]["spec"]["template"]["spec"]
    names = [container["name"] for container in pod["initContainers"]]
    check(sorted(names) == ["litestream", "streamgauge"], names)
    own = pod["initContainers"][names.index("streamgauge")]
    mounted = restricted(own, pod, "example")
    volumes = {volume["name"] for volume in pod["volumes"]} | {"data"}
    check(mounted <= volumes and pod["shareProcessNamespace"] and own["restartPolicy"] == "Always", mounted)
    (config,) = [volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "streamgauge-litestream"]
    check(config == kinds["ConfigMap"][0]["metadata"]["name"], f"{config} is not what is generated")
    labels = kinds["StatefulSet"][0]["spec"]["template"]["metadata"]["labels"]
    wanted = kinds["PodMonitor"][0]["spec"]["selector"]["matchLabels"]
    check(wanted.items() <= labels.items(), f"{wanted} does not select {labels}")


count = chart()
mistakes()
sidecar()
print(f"{count} manifests of the chart are valid for {' and '.join(CHART_VERSIONS)}")
