"""What goes to a cluster with a job, and nothing else."""

import pytest

from sigdca.distributed import bundle
from sigdca.distributed.bundle import bundle_job
from sigdca.errors import JobError
from sigdca.job import dump_job, load_job, parse_job

JOB = """
name: sent
model: lenet-5
data: {source: mnist}
train: {epochs: 1}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def to(tmp_path):
    folder = tmp_path / "to"
    folder.mkdir()
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def job(*settings):
    return parse_job(JOB, "sent.yaml", settings)


def test_a_plain_job_is_one_file_that_says_the_same(here, to):
    (here / "large.bin").write_bytes(b"x" * 1000)
    assert bundle_job(job("seed=7"), to) == "sent.yaml"
    assert files(to) == ["sent.yaml"]
    assert dump_job(load_job(to / "sent.yaml")) == dump_job(job("seed=7"))


def test_what_the_job_names_goes_along_at_its_place(here, to):
    (here / "nets/__pycache__").mkdir(parents=True)
    (here / "nets/__init__.py").write_text("")
    (here / "nets/tiny.py").write_text("class Tiny: ...")
    (here / "nets/__pycache__/tiny.pyc").write_bytes(b"")
    (here / "digits").mkdir()
    (here / "digits/dataset.json").write_text("{}")
    (here / "weights").mkdir()
    (here / "weights/w.safetensors").write_bytes(b"w")
    (here / "board.toml").write_text("")
    settings = ("model=nets.tiny:Tiny", "data.source=./digits", "weights=weights/w.safetensors")
    bundle_job(job(*settings, "targets=[board.toml, jetson-tx2]"), to)
    assert files(to) == [
        "board.toml",
        "digits/dataset.json",
        "nets/__init__.py",
        "nets/tiny.py",
        "sent.yaml",
        "weights/w.safetensors",
    ]


def test_data_sets_in_folders_and_the_targets_of_objectives_and_budget(here, to):
    for name in ("sets/digits", "sets/new"):
        (here / name).mkdir(parents=True)
        (here / name / "dataset.json").write_text("{}")
    for name in ("board.toml", "fast.toml"):
        (here / name).write_text("")
    space = "space: {seed: {int: [1, 9]}}, num_trials: 1"
    search = f"{{{space}, objectives: {{error: min, latency_us@board.toml: min}}}}"
    settings = ("data.source=sets/digits", "data.more=[sets/new]", f"search={search}")
    budget = "budget={at: {fast.toml: {latency_us: 90}}}"
    bundle_job(job(*settings, "compress={recipe: [encode]}", budget), to)
    assert files(to) == [
        "board.toml",
        "fast.toml",
        "sent.yaml",
        "sets/digits/dataset.json",
        "sets/new/dataset.json",
    ]


def test_a_module_in_one_file(here, to):
    (here / "nets.py").write_text("")
    bundle_job(job("model=nets:Tiny"), to)
    assert files(to) == ["nets.py", "sent.yaml"]


def test_places_that_the_cluster_sees_stay_where_they_are(to):
    bundle_job(job("weights=/nfs/w.safetensors", "data.source=s3://lab/digits"), to)
    assert files(to) == ["sent.yaml"]


def test_a_missing_file_is_named(to):
    with pytest.raises(JobError, match=r"none\.safetensors: cannot be read: No such file"):
        bundle_job(job("weights=none.safetensors"), to)


def test_a_file_above_the_current_folder_is_refused(to, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(JobError, match=r"\.\./w\.safetensors: lies outside"):
        bundle_job(job("weights=../w.safetensors"), to)


def test_too_much_is_refused_before_it_is_sent(here, to, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 2**20)
    (here / "w.safetensors").write_bytes(b"x" * (2**21))
    with pytest.raises(JobError, match=r"are 2 MiB \(w.safetensors: 2 MiB\), at most 1; put them"):
        bundle_job(job("weights=w.safetensors"), to)


def test_a_targets_calibration_goes_with_it(here, to):
    (here / "mine.toml").write_text("name = 'mine'")
    (here / "mine.calibration.json").write_text("{}")
    bundle_job(job("targets=[mine.toml]"), to)
    assert files(to) == ["mine.calibration.json", "mine.toml", "sent.yaml"]


def test_what_ray_would_leave_out_goes_along_and_links_by_their_own_names(here, to):
    (here / "digits").mkdir()
    (here / "digits/dataset.json").write_text("{}")
    (here / "digits/.gitignore").write_text("*")
    (here / "run-3.safetensors").write_bytes(b"w")
    (here / "latest.safetensors").symlink_to("run-3.safetensors")
    (here / "current").symlink_to("digits")
    bundle_job(job("data.source=./current", "weights=latest.safetensors"), to)
    assert files(to) == ["current/dataset.json", "latest.safetensors", "sent.yaml"]
    assert (to / "latest.safetensors").read_bytes() == b"w"


def test_too_much_is_refused_before_any_of_it_is_copied(here, to, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 1000)
    monkeypatch.setattr(bundle, "_copy", lambda *_: pytest.fail("nothing may be copied"))
    (here / "digits/deep").mkdir(parents=True)
    (here / "digits/deep/shard.parquet").write_bytes(bytes(2000))
    with pytest.raises(JobError, match=r"digits/deep/shard\.parquet"):
        bundle_job(job("data.source=./digits"), to)
