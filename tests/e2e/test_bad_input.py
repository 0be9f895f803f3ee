"""Bad input: exit code 2 and one line that helps, never a traceback, nothing half-started."""

import pytest

ATOM = "atom-x5-e3940"
JOB = "jobs/lenet-5-mnist.yaml"


@pytest.mark.parametrize(
    ("settings", "helps"),
    [
        (["sede=1"], "sede: unknown key; did you mean 'seed'?"),
        (
            ["compress.recipe.0.prune.sparsity.ip1=1.5"],
            "compress.recipe[0].prune.sparsity.ip1: must be in [0, 1), got 1.5",
        ),
        (["compress.recipe.0.prune.sparsity.ip9=0.5"], "ip9"),
        (["model=lenet-6"], "did you mean 'lenet-5'?"),
        (["model=nowhere:Net"], "nowhere"),
        (["data.source=mnits"], "did you mean 'mnist'?"),
        (["data.source=./nowhere"], "holds no dataset.json"),
        (["data.streaming=true"], "streaming: true is for the address of an imported data set"),
        (["data.source=./x", "data.streaming=true", "data.limit=9"], "limit is for images in"),
        (["targets=[atom-x5-e394]"], "did you mean 'atom-x5-e3940'?"),
        (["weights=none.safetensors"], "none.safetensors"),
        (["train.workers=3"], "train.batch_size must be a multiple of train.workers (3)"),
    ],
)
def test_a_wrong_job_is_refused_before_anything_starts(sigdca_here, tmp_path, settings, helps):
    flags = [flag for setting in settings for flag in ("--set", setting)]
    done = sigdca_here("run", JOB, "--set", f"storage={tmp_path}/runs", *flags)
    assert done.returncode == 2
    assert helps in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("runs/lenet*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "none.yaml"],
        ["run"],
        ["run", JOB, "--no-such-option"],
        ["nonsense"],
        ["inspect", "none.dca"],
        ["test", "weights.bin"],
        ["test", "weights.bin", "--model", "lenet-5"],
        ["test", "x.dca", "weights.bin"],
        ["test", "x.dca", "--data", "./nowhere"],
        ["data", "get", "mnits"],
        ["data", "get", "./nowhere"],
        ["data", "import", "nowhere", "to", "--size", "28,28"],
        ["data", "import", "tests", "to", "--size", "28,28"],
        ["data", "import", "tests", "to", "--size", "28"],
        ["data", "import", "tests", "to", "--size", "0,99999"],
        ["data", "import", "tests", "to", "--size", "28,28", "--resize", "27"],
        ["decode", "x.dca", "--to", "zip", "-o", "y"],
        ["encode", "x.safetensors", "--model", "lenet-6", "-o", "y.dca"],
        ["submit", JOB, "--address", "auto"],
        ["submit", JOB, "--address", "http://head:none"],
        ["submit", JOB, "--verb", "encode"],
        ["edge", "join", "--address", "head", "--target", "jetson-tx2"],
        ["edge", "join", "--address", "head:6379", "--target", "jetson-tx3"],
        ["edge", "join", "--address", "head:6379", "--target", ATOM, "--emulated", "--meter", "V"],
    ],
)
def test_a_wrong_command_is_one_line(sigdca_here, arguments):
    done = sigdca_here(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("sigdca: ")
    assert done.stderr.count("\n") == 1


def test_so_it_is_in_a_process_of_its_own(sigdca):
    for arguments in (["run", JOB, "--set", "model=lenet-6"], ["inspect", "none.dca"]):
        done = sigdca(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("sigdca: ")
        assert done.stderr.count("\n") == 1


def test_no_arguments_and_help_show_the_verbs(sigdca):
    for arguments in ([], ["--help"]):
        done = sigdca(*arguments)
        shown = done.stdout + done.stderr
        for verb in ("run", "train", "compress", "test", "encode", "decode", "inspect", "export"):
            assert verb in shown


@pytest.mark.parametrize(
    "verb",
    [
        "run",
        "train",
        "compress",
        "test",
        "encode",
        "decode",
        "inspect",
        "export",
        "report",
        "targets",
        "data get",
        "data import",
        "submit",
        "submitted list",
        "submitted status",
        "submitted logs",
        "submitted stop",
        "retest",
        "edge join",
    ],
)
def test_every_verb_has_help_with_an_example(sigdca_here, verb):
    done = sigdca_here(*verb.split(), "--help")
    assert done.returncode == 0
    assert f"Example: sigdca {verb}" in done.stdout
