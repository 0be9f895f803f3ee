"""The verbs on files, on a container of real weights."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from sigdca.codec import decode_container
from sigdca.models import build, save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "lenet-5.safetensors"
    save_weights(build("lenet-5"), path)
    return path


@pytest.fixture(scope="module")
def container(weights):
    from sigdca.cli import main

    path = weights.with_suffix(".dca")
    with pytest.raises(SystemExit) as ended:
        main(["encode", str(weights), "--model", "lenet-5", "-o", str(path)])
    assert ended.value.code == 0
    return path


def test_inspect_says_what_the_file_has(sigdca, container):
    done = sigdca("inspect", container, "--json")
    told = json.loads(done.stdout)
    assert told["container_bytes"] == container.stat().st_size
    assert told["dense_bytes"] == 431_080 * 4
    assert told["compression_ratio"] == pytest.approx(
        told["dense_bytes"] / told["container_bytes"]
    )
    assert [layer["name"] for layer in told["layers"]] == ["conv1", "conv2", "ip1", "ip2"]
    assert "conv1" in sigdca("inspect", container).stdout


@pytest.mark.parametrize("to", ["npz", "safetensors"])
def test_decode_gives_the_very_weights(sigdca_here, weights, container, tmp_path, to):
    output = tmp_path / f"out.{to}"
    done = sigdca_here("decode", container, "--to", to, "-o", output)
    assert done.returncode == 0, done.stderr
    found = load_file(output) if to == "safetensors" else dict(np.load(output))
    expected = load_file(weights)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(found[name].view(np.uint32), value.view(np.uint32))


def test_encode_of_the_decoded_weights_is_the_same_file(sigdca_here, container, tmp_path):
    dense, again = tmp_path / "w.safetensors", tmp_path / "again.dca"
    sigdca_here("decode", container, "--to", "safetensors", "-o", dense)
    sigdca_here("encode", dense, "--model", "lenet-5", "-o", again)
    assert again.read_bytes() == container.read_bytes()


def test_export_runs_in_onnxruntime(sigdca_here, container, tmp_path):
    output = tmp_path / "lenet-5.onnx"
    done = sigdca_here("export", container, "--to", "onnx", "-o", output)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime agrees" in done.stderr
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"pixels": np.zeros((2, 1, 28, 28), np.float32)})
    assert logits.shape == (2, 10)


def test_a_weights_file_does_for_a_container_where_its_network_is_named(
    sigdca_here, weights, tmp_path
):
    named = ("--model", "lenet-5")
    told = json.loads(sigdca_here("inspect", weights, *named, "--json").stdout)
    assert [layer["num_weights"] for layer in told["layers"]] == [500, 25_000, 400_000, 5_000]
    assert all(layer["sparsity"] == 0 for layer in told["layers"])
    assert "conv1" in sigdca_here("inspect", weights, *named).stdout
    dense, output = tmp_path / "w.npz", tmp_path / "lenet-5.onnx"
    assert sigdca_here("decode", weights, *named, "--to", "npz", "-o", dense).returncode == 0
    expected = load_file(weights)
    assert all(np.array_equal(value, expected[name]) for name, value in np.load(dense).items())
    assert sigdca_here("export", weights, *named, "-o", output).returncode == 0
    onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("verb", ["inspect", "decode", "export"])
def test_a_weights_file_without_its_network_is_refused(sigdca_here, weights, tmp_path, verb):
    more = {"inspect": [], "decode": ["--to", "npz"], "export": []}[verb]
    output = [] if verb == "inspect" else ["-o", tmp_path / "out"]
    done = sigdca_here(verb, weights, *more, *output)
    assert done.returncode == 2
    assert "not a .dca; name its network with --model" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ["native", "torch", "onnxruntime"])
def test_test_has_what_the_contract_says(sigdca_here, container, engine):
    flags = ("--data", "mnist", "--engine", engine, "--limit", 500, "--json")
    told = json.loads(sigdca_here("test", container, *flags).stdout)
    assert told["num_samples"] == 500
    assert told["accuracy"] + told["error"] == pytest.approx(100)
    assert len(told["logits_sha256"]) == 64
    assert told["latency_us"] > 0


def test_a_container_runs_as_it_is_unless_another_engine_is_asked_for(
    sigdca, sigdca_here, container
):
    told = json.loads(sigdca_here("test", container, "--limit", 500, "--json").stdout)
    assert told["engine"] == "native"
    shared = json.loads(sigdca("test", container, "--limit", 500, "--workers", 2, "--json").stdout)
    assert shared["logits_sha256"] == told["logits_sha256"]


def test_many_files_are_tested_at_once(sigdca, sigdca_here, container, tmp_path):
    copies = [tmp_path / f"{name}.dca" for name in "abc"]
    for copy in copies:
        copy.write_bytes(container.read_bytes())
    one = json.loads(sigdca_here("test", container, "--limit", 500, "--json").stdout)
    for flags in ([], ["--workers", 2]):
        done = sigdca("test", *copies, "--limit", 500, "--json", *flags)
        assert done.returncode == 0, done.stderr
        (key, found), *more = json.loads(done.stdout).items()
        assert (key, more) == ("results", [])
        assert [entry["file"] for entry in found] == [str(copy) for copy in copies]
        for entry in found:
            assert entry["logits_sha256"] == one["logits_sha256"]
            assert entry["num_correct"] == one["num_correct"]
            assert entry["container_bytes"] == container.stat().st_size
            assert entry["compression_ratio"] == entry["dense_bytes"] / entry["container_bytes"]
    shown = sigdca("test", *copies, "--limit", 500, COLUMNS="200").stdout
    assert all(f"{copy.name} " in shown for copy in copies)
    assert shown.count(f"{one['error']:.2f} %") == 3
    bad = sigdca_here("test", copies[0], "none.dca", "--limit", 500)
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)


def test_test_takes_a_weights_file_with_its_network(sigdca_here, weights, container):
    flags = ("--engine", "torch", "--limit", 500, "--json")
    dense = json.loads(sigdca_here("test", weights, "--model", "lenet-5", *flags).stdout)
    packed = json.loads(sigdca_here("test", container, *flags).stdout)
    assert dense["logits_sha256"] == packed["logits_sha256"]


def test_an_unknown_engine_is_named(sigdca_here, container):
    done = sigdca_here("test", container, "--engine", "onnxruntim")
    assert done.returncode == 2
    assert "did you mean 'onnxruntime'?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_weights_of_another_network_are_refused(sigdca_here, weights, tmp_path):
    done = sigdca_here("encode", weights, "--model", "lenet-300-100", "-o", tmp_path / "x.dca")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x.dca").exists()


def test_every_damaged_container_is_one_line(container, tmp_path, capsys):
    from sigdca.cli import main

    whole = container.read_bytes()
    sections = range(0, len(whole), max(1, len(whole) // 60))
    for at in sections:
        for name, content in {
            "flipped": whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :],
            "truncated": whole[:at],
        }.items():
            path = tmp_path / f"{name}.dca"
            path.write_bytes(content)
            output = str(tmp_path / "x.npz")
            with pytest.raises(SystemExit) as ended:
                main(["decode", str(path), "--to", "npz", "-o", output])
            said = capsys.readouterr().err
            assert ended.value.code == 2, (name, at)
            assert said.count("\n") == 1
            assert said.startswith(f"sigdca: {path}: ")
    assert not (tmp_path / "x.npz").exists()
    assert decode_container(whole).tensors
