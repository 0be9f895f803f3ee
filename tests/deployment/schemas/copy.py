"""Copies the schemas that the manifests are held against. Run by hand when one of them changes.

    python tests/deployment/schemas/copy.py FOLDER

FOLDER holds KubeRay's CRDs (helm-chart/kuberay-operator/crds of github.com/ray-project/kuberay,
Apache-2.0). Those of Kubernetes itself are from PyPI's kubernetes-validate (Apache-2.0, made
from Kubernetes' OpenAPI document, Apache-2.0). Descriptions are left out.
"""

import gzip
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import yaml

HERE = Path(__file__).parent
RAY_KINDS = ("rayclusters", "rayjobs", "raycronjobs")
KUBERNETES = "v1.33.0-local-strict"
KINDS = {
    "Namespace": "namespace-v1",
    "ServiceAccount": "serviceaccount-v1",
    "ConfigMap": "configmap-v1",
    "PersistentVolumeClaim": "persistentvolumeclaim-v1",
    "NetworkPolicy": "networkpolicy-networking-v1",
    "Job": "job-batch-v1",
}


def main(folder):
    for kind in RAY_KINDS:
        text = (folder / f"ray.io_{kind}.yaml").read_text()
        crd = yaml.load(text, yaml.CSafeLoader)
        (schema,) = [
            version["schema"]["openAPIV3Schema"]
            for version in crd["spec"]["versions"]
            if version["name"] == "v1"
        ]
        write(crd["spec"]["names"]["kind"], bare(schema))
    place = Path(find_spec("kubernetes_validate").submodule_search_locations[0])
    place = place / "kubernetes-json-schema" / KUBERNETES
    definitions = json.loads((place / "_definitions.json").read_text())["$defs"]
    for kind, file in KINDS.items():
        schema = json.loads((place / f"{file}.json").read_text())
        text = json.dumps(bare(schema)).replace("/api/_definitions.json#/", "#/")
        schema = json.loads(text)
        schema["$defs"] = reached(schema, definitions)
        write(kind, schema)


def reached(schema, definitions):
    """The definitions that a schema refers to, and those that they refer to."""
    found, waiting = {}, [schema]
    while waiting:
        for name in set(names(waiting.pop())) - set(found):
            found[name] = bare(definitions[name])
            waiting.append(found[name])
    return found


def names(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from names(value)
    elif isinstance(node, list):
        for value in node:
            yield from names(value)


def bare(node, named=False):
    """Without descriptions; under `properties` a description is a field of that name."""
    if isinstance(node, dict):
        return {
            key: bare(value, key in ("properties", "$defs") and not named)
            for key, value in node.items()
            if named or key != "description"
        }
    return [bare(value) for value in node] if isinstance(node, list) else node


def write(kind, schema):
    text = json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
    (HERE / f"{kind}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
