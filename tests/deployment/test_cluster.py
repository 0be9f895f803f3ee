"""cluster/: units, environment, launcher files and certificates; test_units.py starts them."""

import json
import re
import shlex
import shutil
import subprocess

import jsonschema
import pytest
import yaml

from sigdca.cli import main
from sigdca.distributed import labels
from sigdca.distributed.joining import PORTS
from sigdca.targets import load_target
from tests.conftest import ROOT
from tests.deployment.units import settings, started_by, tls

CLUSTER = ROOT / "cluster"
UNIT_FILES = sorted(CLUSTER.glob("*.service"))
LAUNCHERS = ("private", "aws", "gcp")
SETTINGS = settings((CLUSTER / "cluster.env").read_text())


@pytest.mark.parametrize("path", UNIT_FILES, ids=lambda path: path.stem)
def test_a_unit_is_one_and_starts_its_node_again(path, tmp_path):
    text = path.read_text()
    assert "\nRestart=always\n" in text
    assert "\nEnvironmentFile=/etc/sigdca/cluster.env\n" in text
    names = set(re.findall(r"\$\{(\w+)\}", text))
    assert names <= set(SETTINGS)
    if shutil.which("systemd-analyze") is None:
        return
    there = re.sub(r"(/opt/sigdca/bin|/usr/bin)/\w+", "/bin/true", text)
    there = there.replace("User=sigdca\n", "").replace("docker.service", "")
    copy = tmp_path / path.name
    copy.write_text(there.replace("Requires=\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(copy) not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", ["sigdca-head.service", "sigdca-server.service"])
def test_units_start_ray_with_options_that_it_has(unit):
    from ray.scripts.scripts import start

    words = started_by(unit, SETTINGS)
    assert words[:2] == ["/opt/sigdca/bin/ray", "start"]
    params = start.make_context("start", words[2:]).params
    assert {name: params[name.replace("-", "_")] for name in PORTS} == PORTS
    told = dict(one.split("=") for one in params["labels"].split(","))
    assert told.pop(labels.SITE_LABEL) == "private"
    assert told == ({labels.PRICE_LABEL: "0.01"} if "server" in unit else {})


@pytest.mark.parametrize("unit", ["sigdca-board.service", "sigdca-board-container.service"])
def test_units_of_boards_agree_with_edge_join(unit, monkeypatch):
    """Both units end in the same command, whose node has the other units' ports."""
    from ray.scripts.scripts import start

    started = []
    monkeypatch.setattr("os.execv", lambda _, command: started.extend(command))
    monkeypatch.setattr("sigdca.distributed.joining.check_join", lambda address: None)
    monkeypatch.setattr("sigdca.targets.Target.why_not_here", lambda target: None)
    words = started_by(unit, SETTINGS)
    assert words[words.index("edge") - 1].rpartition("/")[2] == "sigdca"
    with pytest.raises(SystemExit):
        main(words[words.index("edge") :])
    params = start.make_context("start", started[started.index("start") + 1 :]).params
    assert {name: params[name.replace("-", "_")] for name in PORTS} == PORTS
    assert params["address"] == SETTINGS["SIGDCA_HEAD"]
    assert params["node_ip_address"] == SETTINGS["SIGDCA_NODE_IP"]
    told = dict(one.split("=") for one in params["labels"].split(","))
    assert told == {
        labels.SITE_LABEL: "edge",
        labels.TARGET_LABEL: load_target(SETTINGS["SIGDCA_TARGET"]).label,
        labels.EMULATED_LABEL: "false",
    }


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher_files_are_valid(name):
    import ray.autoscaler

    (folder,) = ray.autoscaler.__path__
    with open(f"{folder}/ray-schema.json") as file:
        schema = json.load(file)
    config = yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())
    jsonschema.validate(config, schema)
    site = "private" if name == "private" else "public"
    for role in ("head", "worker"):
        _, last = config[f"{role}_start_ray_commands"]
        (found,) = [word for word in shlex.split(last) if word.startswith("--labels=")]
        told = dict(one.split("=") for one in found.removeprefix("--labels=").split(","))
        assert told.pop(labels.SITE_LABEL) == site
        assert "secrets/env.sh" in last
        if role == "worker":
            price = told.pop(labels.PRICE_LABEL)
            assert float(price) > 0
        assert told == {}
    head = config.get("head_node_type")
    for name, kind in config.get("available_node_types", {}).items():
        wanted = {labels.SITE_LABEL: site}
        assert kind["labels"] == wanted | ({} if name == head else {labels.PRICE_LABEL: price})
    assert any("--no-index" in command for command in config["setup_commands"])


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher_files_start_ray_with_options_that_it_has(name):
    from ray.scripts.scripts import start

    config = yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())
    for command in (*config["head_start_ray_commands"], *config["worker_start_ray_commands"]):
        words = shlex.split(command)
        if words[-1] != "stop":
            start.make_context("start", words[words.index("start") + 1 :])


def test_public_workers_are_spot_machines_with_a_gpu():
    aws = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["available_node_types"]["gpu-spot"]
    assert aws["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    gcp = yaml.safe_load((CLUSTER / "gcp.yaml").read_text())["available_node_types"]["gpu-spot"]
    assert gcp["node_config"]["scheduling"]["provisioningModel"] == "SPOT"
    assert aws["resources"]["GPU"] == gcp["resources"]["GPU"] == 1


def test_a_rented_server_has_the_environment_of_the_others():
    config = yaml.safe_load((CLUSTER / "hybrid-worker.cloud-init.yaml").read_text())
    files = {file["path"]: file for file in config["write_files"]}
    told = settings(files["/etc/sigdca/cluster.env"]["content"])
    assert set(told) <= set(SETTINGS)
    assert told["SIGDCA_SITE"] == "public"
    same = [name for name in told if name.startswith("RAY_")]
    assert {name: told[name] for name in same} == {name: SETTINGS[name] for name in same}
    done = subprocess.run(
        ["sh", "-n"], input=files["/etc/sigdca/join.sh"]["content"], text=True, check=False
    )
    assert done.returncode == 0


def test_certificates_are_of_the_authority_and_refuse_to_overwrite_it(tmp_path):
    tls("ca", tmp_path)
    tls("node", tmp_path, "10.0.0.2")
    assert (tmp_path / "10.0.0.2.key").stat().st_mode & 0o077 == 0
    again = subprocess.run(
        [str(CLUSTER / "tls.sh"), "ca", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert again.returncode == 2
    assert "is there already" in again.stderr
