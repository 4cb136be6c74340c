"""kubernetes.py ROOT KUBECTL [CASE]: renders the chart with each of its ci values, and the example of the sidecar, and holds
everything to Kubernetes' own schemas. What is the Prometheus operator's is held to operator.yaml beside this file, where every
field that is used stands, and to what it has to say. With the name of one of the ci values, it prints what is rendered with them as JSON, and checks nothing."""

import json
import pathlib
import re
import subprocess
import sys

import helm_python
import jsonschema
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
OPERATOR = yaml.safe_load(pathlib.Path(__file__).with_name("operator.yaml").read_text())
# `up{job="streamgauge"}` is asked by the rules, and an instance outlives its pod.
RELABELINGS = [
    {"targetLabel": "job", "replacement": "streamgauge"},
    {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance", "replacement": "$1:10099"},
]


# What of the chart's podMonitor is the endpoint's.
ENDPOINT = {"interval", "metricRelabelings", "scheme", "tlsConfig", "basicAuth"}


def fail(text):
    sys.exit(f"kubernetes.py: {text}")


def check(condition, text):
    condition or fail(text)


def valid(documents, versions, where):
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    check(len(set(names)) == len(names), f"{where}: {names}")
    for document in documents:
        try:
            if document["apiVersion"] == "monitoring.coreos.com/v1":
                schema = OPERATOR | {"$ref": f"#/$defs/{document['kind']}"}
                jsonschema.validate(document, schema, jsonschema.Draft202012Validator)
                continue
            for version in versions:
                kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:
            fail(f"{where}: {document['kind']}: {str(error).splitlines()[0]}")
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


def selected(selector, pod, where):
    """Whether a selector finds the pods of the same rendering; an empty one would find everybody's."""
    wanted, labels = selector["matchLabels"], pod["metadata"]["labels"]
    check(wanted and wanted.items() <= labels.items(), f"{where}: {wanted} does not select {labels}")


def asked(container, pod, secret, where):
    """Whether probes can get in: with a web configuration, through a socket, as whoever has no password and no certificate."""
    probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    if not secret:
        paths = [probe["httpGet"] for probe in probes]
        wanted = [{"path": f"/-/{path}", "port": "metrics"} for path in ("healthy", "healthy", "ready")]
        check(paths == wanted and not any("web.config" in word for word in container["args"]), f"{where}: {paths}")
        return
    (volume,) = [volume["name"] for volume in pod["volumes"] if volume.get("secret", {}).get("secretName") == secret]
    (folder,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == volume]
    check(f"--web.config.file={folder}/web.yml" in container["args"], f"{where}: {container['args']}")
    commands = [probe["exec"]["command"] for probe in probes]
    url = commands[0][-1].removeprefix("--url=")
    ask = ["/usr/bin/streamgauge", "healthcheck", f"--url={url}"]
    check(commands == [ask, ask, [*ask, "--ready"]], f"{where}: {commands}")
    check(f"--web.listen-address={url}" in container["args"] and url.startswith("unix:"), f"{where}: {url}")


def scraped(monitor, pod, container, where):
    """Whether a PodMonitor finds the port of these pods, and says what the rules expect."""
    selected(monitor["spec"]["selector"], pod, where)
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    check(ports.get(endpoint["port"]) == 10099, f"{where}: port {endpoint['port']} of {ports}")
    check(endpoint["relabelings"] == RELABELINGS, f"{where}: {endpoint['relabelings']}")
    return endpoint


def rendered(values):
    chart = helm_python.Chart.load(str(CHART))
    chart.validate_schema(values)
    texts = chart.render(values, name="watch", namespace="backups")
    chart.close()
    notes = [text for path, text in texts.items() if path.endswith("NOTES.txt")]
    manifests = [text for path, text in texts.items() if not path.endswith("NOTES.txt")]
    check(len(notes) == 1 and "port-forward" in notes[0], "no notes")
    return [document for text in manifests for document in yaml.safe_load_all(text) if document]


def linked(file, settings):
    """A file whose links to the agents are as Prometheus scrapes them."""
    text, scheme = file.read_text(), settings.get("scheme", "http")
    for instance in ("{{ $labels.instance }}", "${__data.fields.instance}"):
        text = text.replace(f"http://{instance}", f"{scheme}://{instance}")
    return text


def chart():
    cases = sorted(CHART.glob("ci/*-values.yaml"))
    check(len(cases) >= 4, "no ci values")
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
        template, settings = controller["spec"]["template"], values.get("podMonitor", {})
        selected(controller["spec"]["selector"], template, case.name)
        asked(pod["containers"][0], pod, values.get("web", {}).get("existingSecret"), case.name)
        for service in kinds["Service"]:
            selected({"matchLabels": service["spec"]["selector"]}, template, case.name)
        for policy in kinds.get("NetworkPolicy", []):
            selected(policy["spec"]["podSelector"], template, case.name)
            (ingress,) = policy["spec"]["ingress"]
            check(ingress["ports"] == [{"port": "metrics", "protocol": "TCP"}], f"{case.name}: {ingress}")
            given = values["networkPolicy"]
            check(ingress.get("from", []) == given.get("from", []), f"{case.name}: {ingress}")
            # Name servers are asked wherever it may connect to.
            names = [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}]
            egress = names + given["egress"] if given.get("egress") else []
            check(policy["spec"].get("egress", []) == egress, f"{case.name}: {policy['spec']}")
            types = ["Ingress", "Egress"] if egress else ["Ingress"]
            check(policy["spec"]["policyTypes"] == types, f"{case.name}: {policy['spec']}")
        for monitor in kinds.get("PodMonitor", []):
            endpoint = scraped(monitor, template, pod["containers"][0], case.name)
            check(monitor["spec"]["namespaceSelector"] == {"matchNames": ["backups"]}, f"{case.name}: the namespace")
            given = {"interval": "30s", "scheme": "http"} | {key: value for key, value in settings.items() if key in ENDPOINT}
            found = {key: value for key, value in endpoint.items() if key not in ("port", "relabelings")}
            check(found == given, f"{case.name}: {found} of {given}")
        for rule in kinds.get("PrometheusRule", []):
            rules = linked(ROOT / "alerts/streamgauge.rules.yml", settings)
            check(rule["spec"] == yaml.safe_load(rules), f"{case.name}: these are not the rules of alerts/")
        for kind in ("PodMonitor", "PrometheusRule"):
            for document in kinds.get(kind, []):
                given = values[kind[0].lower() + kind[1:]]
                labels = document["metadata"]["labels"]
                check(given.get("labels", {}).items() <= labels.items(), f"{case.name}: {kind} {labels}")
                place = given.get("namespace", "backups")
                check(document["metadata"]["namespace"] == place, f"{case.name}: {kind} {document['metadata']}")
        for config in kinds.get("ConfigMap", []):
            for name, text in config["data"].items():
                if name.endswith(".json"):
                    same = json.loads(text) == json.loads(linked(ROOT / "dashboards" / name, settings))
                    check(same, f"{case.name}: {name} is not that of dashboards/")
    secured = json.dumps(rendered(yaml.safe_load((CHART / "ci/secured-values.yaml").read_text())))
    check(secured.count("https://{{ $labels.instance") > 9 < secured.count("https://${__data.fields"), "no links by https")
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
        ({"config": "x", "web": {"secret": "x"}}, "secret"),
        ({"config": "x", "podMonitor": {"tlsConfig": {"ca": {"secret": "x"}}}}, "ca"),
        ({"config": "x", "podMonitor": {"basicAuth": {"password": "x"}}}, "password"),
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
    (monitor,) = kinds["PodMonitor"]
    scraped(monitor, kinds["StatefulSet"][0]["spec"]["template"], own, "example")


if sys.argv[3:]:
    values = yaml.safe_load((CHART / "ci" / f"{sys.argv[3]}-values.yaml").read_text())
    sys.exit(print(json.dumps(rendered(values))))
count = chart()
mistakes()
sidecar()
print(f"{count} manifests of the chart are valid for {' and '.join(CHART_VERSIONS)}")
