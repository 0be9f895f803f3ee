"""Deployment: refusals within 10 s, jobs on a lab of units, manifests, how-tos, the wheel.

    python benchmarks/deployment.py [--quick] [--json]

Needs root and network namespaces: a head, a server and a board are hosts of one machine, started
as the units of cluster/ start them, with token and TLS. The wheel's claim needs a package index.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from claims import Claim, at_least, at_most, main

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/cluster")]

from tests.cluster.lab import why_not  # noqa: E402
from tests.deployment.units import Units  # noqa: E402

REFUSED_S = 10.0
INSTALL_S = 60.0
AGAINST = "set beforehand"
DASHBOARD = "http://127.0.0.1:8265"
JOBS = ("lenet-300-100-mnist", "lenet-5-mnist", "lenet-300-100-mnist-small")
CUT_EPOCHS = 40
SIGDCA = (sys.executable, "-m", "sigdca")
OLD_RAY = (
    "import sys, ray; ray.__version__ = '2.59.0'; sys.argv[0] = 'ray'; "
    "from ray.scripts.scripts import main; main()"
)
# A command and what it said: exit code, and both streams together.
Said = tuple[int, str]


def measure(quick: bool) -> list[Claim]:
    """All claims."""
    repeats = 1 if quick else 5
    claims = [*_static(), _wheel(repeats), *_refusals_here(repeats)]
    if reason := why_not():
        print(f"no lab here: {reason}", file=sys.stderr)
        return claims
    lab = Units()
    try:
        lab.start()
        lab.wait_for_nodes()
        claims += _refusals_in_the_lab(lab, repeats)
        claims += _jobs(lab)
    finally:
        lab.stop()
        shutil.rmtree(lab.folder, ignore_errors=True)
    return claims


def _static() -> list[Claim]:
    """The share of tests that pass, of those that hold manifests and how-tos against the world."""
    return [
        at_least(name, [_share_passed(file, words)], 100.0, "%", AGAINST)
        for name, file, words in (
            ("manifests valid", "test_kubernetes.py", "every_manifest"),
            ("commands of batch jobs run", "test_kubernetes.py", "very_commands"),
            ("launcher files and units valid", "test_cluster.py", "launcher or unit_is"),
            ("how-tos executed", "test_howtos.py", "how_to_is_run"),
        )
    ]


def _share_passed(file: str, words: str) -> float:
    command = [sys.executable, "-m", "pytest", "-q", f"tests/deployment/{file}", "-k", words]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [*command, f"--junitxml={report}"], cwd=ROOT, capture_output=True, check=False
        )
        head = report.read_text().partition("<testcase")[0]
    counts = dict(part.split("=") for part in head.split("<testsuite ")[1].split() if "=" in part)
    number = {
        name: int(counts[name].strip('"')) for name in ("tests", "errors", "failures", "skipped")
    }
    passed = number["tests"] - number["errors"] - number["failures"] - number["skipped"]
    return 100.0 * passed / max(number["tests"], 1)


def _wheel(repeats: int) -> Claim:
    """`pip install` of the built wheel and what the core needs, into an empty environment."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder]
        subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        for number in range(repeats):
            venv = Path(folder) / f"venv{number}"
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            start = time.monotonic()
            subprocess.run(
                [str(venv / "bin/pip"), "install", "--quiet", str(wheel)],
                check=True,
                capture_output=True,
                env=os.environ | {"PATH": f"{venv}/bin"},  # no compiler is found
            )
            seconds.append(time.monotonic() - start)
    return at_most("wheel installed without compilers", seconds, INSTALL_S, "s", AGAINST)


def _refusals_here(repeats: int) -> list[Claim]:
    def here(*words: str) -> Said:
        return _said([*SIGDCA, *words])

    job = str(ROOT / f"jobs/{JOBS[0]}.yaml")
    with _another_ray() as address:
        return [
            _refused(
                "no head",
                "no head answers",
                repeats,
                lambda: here("submit", job, "--address", "http://127.0.0.1:9"),
            ),
            _refused(
                "another Ray on the cluster",
                "it runs Ray 2.59.0",
                repeats,
                lambda: here("submit", job, "--address", address),
            ),
            _refused(
                "an unknown target",
                "did you mean",
                repeats,
                lambda: here(
                    "submit", job, "--set", "targets=[atom-x5-e394]", "--address", address
                ),
            ),
            _refused("a full disk", "MiB are free on its disk", repeats, lambda: _full_disk(job)),
        ]


def _refusals_in_the_lab(lab: Units, repeats: int) -> list[Claim]:
    job = str(ROOT / f"jobs/{JOBS[0]}.yaml")
    submit = (*SIGDCA, "submitted", "list", "--address", DASHBOARD)
    token, other, expired = lab.another_token(), lab.another_authority(), lab.expired()

    def on(host: str, *words: str, **changes: str) -> Said:
        done = lab.run(host, *words, **changes)
        return done.returncode, done.stdout + done.stderr

    def join(**changes: str) -> Said:
        done = lab.join("three", **changes)
        return done.returncode, done.stdout + done.stderr

    def old_node() -> Said:
        words = [sys.executable, "-c", OLD_RAY, "start", "--address", lab.address, "--block"]
        return on("three", *words)

    claims = [
        _refused(
            "submit: wrong token",
            "refused the token",
            repeats,
            lambda: on("head", *submit, RAY_AUTH_TOKEN_PATH=token),
        ),
        _refused(
            "submit: no token",
            "wants a token",
            repeats,
            lambda: on("head", *submit, RAY_AUTH_TOKEN_PATH="", RAY_AUTH_MODE="disabled"),
        ),
        _refused(
            "join: wrong token",
            "refused the token",
            repeats,
            lambda: join(RAY_AUTH_TOKEN_PATH=token),
        ),
        _refused("join: wrong authority", "certificate", repeats, lambda: join(**other)),
        _refused("join: expired certificate", "expired", repeats, lambda: join(**expired)),
        _refused("join: another Ray", "2.59.0", repeats, old_node),
    ]
    seconds, told = _timed(
        lambda: on("head", *SIGDCA, "submit", job, "--verb", "retest", "--address", DASHBOARD)
    )
    explained = "no node of this cluster stands for it" in told[1]
    claims.append(
        at_most(
            "a target that nobody has: explained",
            [seconds if explained else 999.0],
            REFUSED_S,
            "s",
            AGAINST,
        )
    )
    return claims


def _jobs(lab: Units) -> list[Claim]:
    """Three jobs by the Jobs API on four nodes; a power cut in a fourth, which then goes on."""
    lab.add_server()
    shutil.copytree(ROOT / "jobs", lab.folder / "jobs")
    storage = f"storage={lab.folder}/runs"

    def submit(name: str, *words: str) -> Said:
        command = [*SIGDCA, "submit", f"jobs/{name}.yaml", "--verb", "train"]
        command += ["--address", DASHBOARD, "--set", storage, "--set", "train.workers=1"]
        done = lab.run("head", *command, *words, timeout=400, cwd=lab.folder)
        return done.returncode, done.stdout + done.stderr

    ended = [submit(name, "--smoke-test", "--logs") for name in JOBS]
    for code, told in ended:
        if code != 0:
            print(told, file=sys.stderr)
    done = sum(code == 0 for code, _ in ended)
    long = ("--set", "name=cut", "--set", f"train.epochs={CUT_EPOCHS}")
    submit(JOBS[0], *long)
    end = time.monotonic() + 180
    while not list(lab.folder.glob("runs/cut/checkpoints/*/*/checkpoint.sha256")):
        if time.monotonic() > end:
            raise SystemExit("the job to be cut off came to no checkpoint")
        time.sleep(0.1)
    lab.power_cut()
    code, told = submit(JOBS[0], *long, "--resume", "--logs")
    went_on = code == 0 and " epoch 1:" not in told and f" epoch {CUT_EPOCHS}:" in told
    listed = lab.run("head", *SIGDCA, "submitted", "list", "--address", DASHBOARD, "--json")
    shown = [
        one
        for one in json.loads(listed.stdout)["submissions"]
        if one["id"].startswith("cut") and one["status"] == "SUCCEEDED"
    ]
    return [
        at_least(
            "jobs submitted to four nodes that succeeded", [float(done)], 3.0, "jobs", AGAINST
        ),
        at_least("went on where a power cut left it", [float(went_on)], 1.0, "jobs", AGAINST),
        at_least(
            "listed as succeeded by the dashboard", [float(len(shown))], 1.0, "jobs", AGAINST
        ),
    ]


def _refused(name: str, reason: str, repeats: int, attempt: Callable[[], Said]) -> Claim:
    """How long until it is refused; a refusal without its reason counts as none."""
    seconds = []
    for _ in range(repeats):
        took, (code, told) = _timed(attempt)
        seconds.append(took if code != 0 and reason in told else 999.0)
    return at_most(f"refused: {name}", seconds, REFUSED_S, "s", AGAINST, every=True)


def _timed(attempt: Callable[[], Said]) -> tuple[float, Said]:
    start = time.monotonic()
    told = attempt()
    return time.monotonic() - start, told


def _said(words: list[str]) -> Said:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _full_disk(job: str) -> Said:
    with tempfile.TemporaryDirectory() as folder:
        script = f'mount -t tmpfs -o size=1m tmpfs {folder} && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, "sh", *SIGDCA, "train", job]
        return _said([*words, "--set", f"storage={folder}"])


@contextlib.contextmanager
def _another_ray() -> Iterator[str]:
    """Something that says it is the dashboard of a cluster with Ray 2.59.0."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({"version": "4", "ray_version": "2.59.0"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    main(__doc__, measure)
