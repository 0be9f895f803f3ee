"""Searches on a lab of two servers, one private and one public, and a board."""

import json
import subprocess
import sys

from tests.conftest import ROOT

LABELS = {
    "one": "sigdca.io/site=private",
    "two": "sigdca.io/site=public,sigdca.io/price=3.6",
    "three": "sigdca.io/site=edge,sigdca.io/target=this-machine",
}
JOB = """
model: lenet-300-100
data: {source: mnist, limit: 600}
train: {epochs: 1, batch_size: 50, learning_rate: 0.1}
compress:
  recipe:
    - prune: {sparsity: {ip1: 0.9, ip2: 0.8}, epochs: 6, learning_rate: 0.05}
    - encode
search:
  space: {compress.recipe.0.prune.sparsity.ip1: {uniform: [0.7, 0.99]}}
  sampler: random
  sensitivity_images: 0
  fidelities: [1.0]
  prices: {private: 0.36}
"""


def study(lab, folder, name, *settings, resume=False, on_trial=lambda driver: None, ends=0):
    """Runs a search from the head; gives its outcome and its trials. It ends with `ends`."""
    job = folder / f"{name}.yaml"
    job.write_text(f"name: {name}\nstorage: {folder}\n{JOB}")
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "sigdca", "search", str(job), "--address", lab.address]
    command += ["--resume"] if resume else []
    driver = lab.popen(
        "head",
        *(*command, "--json", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    said = []
    with driver:
        for line in driver.stderr:
            said.append(line)
            if line.startswith("trial "):
                on_trial(driver)
        outcome = driver.stdout.read()
    assert driver.returncode == ends, "".join(said)
    files = sorted((folder / name / "trials").glob("*.json"))
    return json.loads(outcome or "null"), [json.loads(path.read_text()) for path in files]
