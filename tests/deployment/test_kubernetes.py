"""k8s/: what kustomize makes of each overlay is what Kubernetes and KubeRay take."""

import gzip
import json
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from sigdca.cli import main
from sigdca.distributed import labels
from sigdca.job import load_job
from sigdca.targets import check_emulator, load_target, target_names
from tests.conftest import ROOT, emulated

if shutil.which("kubectl") is None:
    pytest.skip("kubectl, which has kustomize, is not installed", allow_module_level=True)

SCHEMAS = Path(__file__).parent / "schemas"
OVERLAYS = ("private", "public", "edge")
RAY_KINDS = ("RayCluster", "RayJob", "RayCronJob")
SITES = {"private", "public", "edge"}
IMAGES = sorted((ROOT / "k8s/images").glob("Dockerfile.*"))
PROJECT = (ROOT / "pyproject.toml").read_text()


def pinned_ray():
    (found,) = set(re.findall(r"ray\[[a-z,]*\]==([\d.]+)", PROJECT))
    return found


@cache
def documents(overlay):
    done = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "k8s/overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay, *kinds):
    return [found for found in documents(overlay) if found["kind"] in kinds]


def clusters(overlay):
    """The cluster of each object that has one, by the object's name."""
    for found in of_kind(overlay, *RAY_KINDS):
        spec = found["spec"]
        if found["kind"] == "RayCronJob":
            spec = spec["jobTemplate"]
        yield (
            found["metadata"]["name"],
            spec if found["kind"] == "RayCluster" else spec["rayClusterSpec"],
        )


def pods(overlay):
    """Each group's name, the group and its pod, of all clusters."""
    for name, cluster in clusters(overlay):
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            yield f"{name}/{group.get('groupName', 'head')}", group, group["template"]["spec"]


def all_pods(overlay):
    """Each pod's name and specification."""
    for name, _, pod in pods(overlay):
        yield name, pod
    for found in of_kind(overlay, "Job"):
        yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def strict(schema):
    """As the API server reads a CRD's schema: unknown fields refused, defaults filled in."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.pop("nullable", False) and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    properties = schema.get("properties")
    if not isinstance(properties, dict) or schema.get("type") != "object":
        return schema
    if isinstance(schema.get("required"), list):
        schema["required"] = [
            name for name in schema["required"] if "default" not in properties.get(name, {})
        ]
    if not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


@cache
def validator(kind):
    schema = json.loads(gzip.decompress((SCHEMAS / f"{kind}.json.gz").read_bytes()))
    if kind not in RAY_KINDS:
        return jsonschema.Draft202012Validator(schema)
    schema = strict(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(schema)


NAME = {"type": "string", "pattern": "^[a-z0-9.-]{1,63}$"}
QUANTITY = {"type": ["integer", "string"]}
# Kueue's CRDs are large: here is what these manifests may say, by its reference of v1beta2.
KUEUE = {
    "ResourceFlavor": {
        "nodeLabels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "LocalQueue": {"clusterQueue": NAME},
    "ClusterQueue": {
        "namespaceSelector": {"type": "object", "required": ["matchLabels"]},
        "resourceGroups": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["coveredResources", "flavors"],
                "properties": {
                    "coveredResources": {"type": "array", "items": {"type": "string"}},
                    "flavors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["name", "resources"],
                            "properties": {
                                "name": NAME,
                                "resources": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "required": ["name", "nominalQuota"],
                                        "properties": {
                                            "name": {"type": "string"},
                                            "nominalQuota": QUANTITY,
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def kueue_validator(kind):
    spec = {"type": "object", "additionalProperties": False, "properties": KUEUE[kind]}
    fields = {"apiVersion": {"const": "kueue.x-k8s.io/v1beta2"}, "kind": {}, "metadata": {}}
    return jsonschema.Draft7Validator(
        {
            "additionalProperties": False,
            "required": ["spec"],
            "properties": fields | {"spec": spec},
        }
    )


def wrong(document):
    kind = document["kind"]
    found = kueue_validator(kind) if kind in KUEUE else validator(kind)
    return [
        f"{kind} {document['metadata']['name']}: {'/'.join(map(str, one.absolute_path))}: "
        f"{one.message[:200]}"
        for one in found.iter_errors(document)
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(overlay):
    found = documents(overlay)
    assert [line for document in found for line in wrong(document)] == []
    kinds = {document["kind"] for document in found}
    assert {"NetworkPolicy", "ClusterQueue", "LocalQueue", *RAY_KINDS} <= kinds
    assert ("PersistentVolumeClaim" in kinds) is (overlay != "public")
    assert not kinds & {"Secret", "Pod"}


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["spec"].update(entryPoint="x"),
        lambda job: job["spec"]["rayClusterSpec"].pop("headGroupSpec"),
        lambda job: job["spec"]["rayClusterSpec"]["authOptions"].update(mode="none"),
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"][
            "containers"
        ][0].update(readOnly=True),
    ],
)
def test_a_wrong_manifest_is_found(change):
    (job,) = [found for found in of_kind("edge", "RayJob") if found["metadata"]["name"] == "loop"]
    job = json.loads(json.dumps(job))
    assert wrong(job) == []
    change(job)
    assert wrong(job)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_image_tag_ray_version_and_pin_are_one(overlay):
    ray = pinned_ray()
    for name, cluster in clusters(overlay):
        assert cluster["rayVersion"] == ray, name
        assert cluster["authOptions"] == {"mode": "token", "secretName": "sigdca-token"}, name
    for _, pod in all_pods(overlay):
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            image, _, tag = container["image"].rpartition(":")
            assert tag == ray, name
            kind = image.rpartition("-")[2]
            assert (ROOT / f"k8s/images/Dockerfile.{kind}").is_file(), image


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_equal_requests_and_limits_no_rights_and_no_writable_root(overlay):
    for name, pod in all_pods(overlay):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        mounted, used = {volume["name"] for volume in pod["volumes"]}, set()
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            resources = container["resources"]
            assert resources["requests"] == resources["limits"], name
            assert {"cpu", "memory"} <= set(resources["limits"]), name
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"] is True, name
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounts) <= mounted, name
            used |= set(mounts)
            assert "/tmp" in mounts.values() or container["command"][0] != "sigdca", name
        assert used == mounted, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_groups_say_their_site_and_go_to_its_nodes(overlay):
    for name, group, pod in pods(overlay):
        site = group["labels"][labels.SITE_LABEL]
        assert site in SITES
        wanted = dict(pod.get("nodeSelector", {}))
        affinity = pod.get("affinity", {}).get("nodeAffinity", {})
        terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        for term in terms.get("nodeSelectorTerms", []):
            wanted |= {one["key"]: one["values"][0] for one in term["matchExpressions"]}
        assert wanted[labels.SITE_LABEL] == site, name
        if site != "edge":
            assert name.endswith("/head") or float(group["labels"][labels.PRICE_LABEL]) > 0, name
        else:
            target = group["labels"][labels.TARGET_LABEL]
            assert target in target_names()
            assert wanted[labels.TARGET_LABEL] == target
            assert group["labels"][labels.EMULATED_LABEL] == "false"


def test_overlays_bring_what_they_are_for():
    groups = {
        overlay: {name.partition("/")[2] for name, _, _ in pods(overlay)} for overlay in OVERLAYS
    }
    assert groups["private"] == {"head", "private"}
    assert groups["public"] == {"head", "private", "public"}
    assert groups["edge"] == {"head", "private", "jetson-tx2", "atom-x5-e3940"}
    jetson = next(pod for name, _, pod in pods("edge") if name.endswith("/jetson-tx2"))
    assert "nvidia.com/gpu" in jetson["containers"][0]["resources"]["limits"]
    assert "arm64" in str(jetson["affinity"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_takes_the_start_parameters(overlay):
    from ray.scripts.scripts import start

    options = {name for option in start.params for name in option.opts}
    for name, cluster in clusters(overlay):
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            assert {f"--{key}" for key in group["rayStartParams"]} <= options, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_batch_jobs_wait_in_a_queue_that_covers_them(overlay):
    (local,) = of_kind(overlay, "LocalQueue")
    (queue,) = of_kind(overlay, "ClusterQueue")
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    flavours = {found["metadata"]["name"]: found for found in of_kind(overlay, "ResourceFlavor")}
    (group,) = queue["spec"]["resourceGroups"]
    assert {flavour["name"] for flavour in group["flavors"]} == set(flavours)
    sites = {found["spec"]["nodeLabels"][labels.SITE_LABEL] for found in flavours.values()}
    assert (
        local["metadata"]["name"] == "default"
    )  # of jobs without a label, as RayCronJob makes them
    for found in of_kind(overlay, *RAY_KINDS):
        if found["kind"] != "RayCronJob":
            assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "default"
    for name, one, pod in pods(overlay):
        assert one["labels"][labels.SITE_LABEL] in sites
        asked = set(pod["containers"][0]["resources"]["requests"])
        assert asked <= set(group["coveredResources"]), name


def entrypoints(overlay):
    for found in of_kind(overlay, "RayJob", "RayCronJob"):
        spec = found["spec"]
        spec = spec["jobTemplate"] if found["kind"] == "RayCronJob" else spec
        yield found["metadata"]["name"], shlex.split(spec["entrypoint"])


def test_overlays_change_the_storage_and_nothing_else_of_a_command():
    private, public = dict(entrypoints("private")), dict(entrypoints("public"))
    assert set(private) == set(public) == {"train", "compress", "loop", "retest"}
    for name, words in private.items():
        changed = [(a, b) for a, b in zip(words, public[name], strict=True) if a != b]
        assert changed == [("storage=/data/runs", "storage=s3://my-bucket/runs")]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_board_is_retested_and_nothing_that_only_a_missing_one_proves(overlay):
    words = dict(entrypoints(overlay))["retest"]
    settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    asked = load_job(words[2].replace("/opt/sigdca/", f"{ROOT}/"), settings).targets
    boards = {group["labels"].get(labels.TARGET_LABEL) for _, group, _ in pods(overlay)} - {None}
    assert boards <= set(asked)
    for target in set(asked) - boards:
        check_emulator(load_target(target))


def test_the_very_commands_run(tmp_path, monkeypatch, capsys):
    """train, compress, loop and retest on one storage, as batch jobs follow each other."""
    import contextlib

    from sigdca.loop import LocalExecutor

    emulated("atom-x5-e3940")
    emulated("jetson-tx2-cpu")

    class Here(LocalExecutor):
        cluster = type("Cluster", (), {"address": "in this process"})

    @contextlib.contextmanager
    def connect(address, num_workers):
        assert address is None
        yield Here()

    monkeypatch.setattr("sigdca.distributed.connect", connect)
    commands = dict(entrypoints("private"))
    for name in ("train", "compress", "loop", "retest"):
        words = [
            word.replace("/opt/sigdca/", f"{ROOT}/").replace("/data/runs", str(tmp_path))
            for word in commands[name]
        ]
        assert words[0] == "sigdca"
        with pytest.raises(SystemExit) as ended:
            main([*words[1:], "--smoke-test"])
        assert ended.value.code == 0, (name, capsys.readouterr())
    (run,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert (run / "model.dca").is_file()
    (record,) = (run / "retests").iterdir()
    legs = json.loads(record.read_text())["legs"]
    assert [leg["verdict"] for leg in legs] == ["exact", "exact"]


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_are_built_from_what_is_here(path):
    text = path.read_text().replace("\\\n", " ")
    pythons = {
        line for one in IMAGES for line in re.findall(r"^FROM (\S+)", one.read_text(), re.M)
    }
    assert len(pythons) == 1  # all nodes of a cluster need one Python
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", pythons.pop())
    assert f":{pinned_ray()}" in text.split("FROM", 1)[0]
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
    for extras in re.findall(r"'sigdca\[([a-z,]+)\]'", text):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", PROJECT, re.M), extra
    assert re.findall(r"^USER (.*)$", text, re.M) == ["1000:1000"]


def test_a_board_gets_neither_torch_nor_more_of_ray_than_a_node_needs():
    import tomllib

    project = tomllib.loads(PROJECT)["project"]
    extras = project["optional-dependencies"]
    core = [*project["dependencies"], *extras["edge"]]
    assert not {Requirement(one).name for one in core} & {"torch", "ray"}
    join = {Requirement(one).name for one in extras["join"]}
    assert join == {"sigdca", "ray"}


def test_the_settings_name_a_job_of_the_image():
    (settings,) = of_kind("private", "ConfigMap")
    job = settings["data"]["job"].replace("/opt/sigdca/", f"{ROOT}/")
    assert load_job(job).compress is not None


def test_the_release_signs_with_a_key_that_only_it_has():
    import typer

    from sigdca.cli import app

    (job,) = of_kind("private", "Job")
    pod = job["spec"]["template"]["spec"]
    (settings,) = of_kind("private", "ConfigMap")
    values = {name: settings["data"][name.lower()] for name in ("RUN", "VERSION", "CHANNEL")}
    assert (
        load_job(settings["data"]["job"].replace("/opt/sigdca/", f"{ROOT}/")).name == values["RUN"]
    )
    key, *signing = pod["initContainers"]
    # A secret's files may be the group's, whatever their mode says; a private key's may not.
    assert key["command"][:3] == ["install", "-m", "600"]
    verbs = []
    for container in (*signing, *pod["containers"]):
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert "signing-key" not in mounted
        assert ("key" in mounted) == (container["name"] == "sign")
        text = " ".join([*container["command"], *container["args"]])
        words = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], text).split()
        verb = typer.main.get_command(app).get_command(None, words[1])
        assert verb is not None, words[1]
        verb.make_context(words[1], words[2:])
        verbs.append(words[1])
    assert verbs == ["sign", "publish"]
    secrets = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets == {"sigdca-signing-key"}
    for _, _, ray_pod in pods("private"):
        assert not [volume for volume in ray_pod["volumes"] if "secret" in volume]
    assert not of_kind("public", "Job")
