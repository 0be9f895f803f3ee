"""What is shipped: the wheel, the source distribution, and the packages for targets."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from sigdca.native import library_path
from tests.conftest import emulated

ROOT = Path(__file__).resolve().parents[2]
_spec = spec_from_file_location("release", ROOT / "scripts/release.py")
assert _spec is not None
assert _spec.loader is not None
release = module_from_spec(_spec)
_spec.loader.exec_module(release)
NATIVE = ROOT / "sigdca/native"
HEADER = NATIVE / "include/sigdca.h"
CODEC_HEADER = HEADER.with_name("sigdca_codec.h")
TARGETS = ("aarch64-a57", "x86-64-v2-goldmont")
MAX_LIBRARY_BYTES = 600_000
JETPACK_4_GLIBC = (2, 27)
LIBC = {"libc.so.6", "libm.so.6"}
LOADERS = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def output(*command: object) -> str:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def configure(folder: Path, *settings: str) -> None:
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert cmake is not None, "cmake is not installed: make setup"
    output(cmake, "-G", "Ninja", "-S", NATIVE, "-B", folder, *settings)


def dynamic(library: Path, tag: str) -> set[str]:
    return set(re.findall(rf"\({tag}\).*\[(.*)\]", output("readelf", "-dW", library)))


def declared(header: Path = HEADER) -> set[str]:
    text = header.read_text()
    found = re.findall(r"SIGDCA_API\s[^;]*?(sigdca_\w+)\(", text)
    macros = text.count("define SIGDCA_API ")
    assert len(found) == text.count("SIGDCA_API ") - macros
    return set(found)


def exported(library: Path) -> set[str]:
    table = output("readelf", "--dyn-syms", "-W", library)
    rows = [line.split() for line in table.splitlines() if " UND " not in line]
    return {row[7] for row in rows if len(row) >= 8 and row[4] in ("GLOBAL", "WEAK")}


@pytest.fixture(params=["wheel", *TARGETS])
def library(request, native_package):
    if request.param == "wheel":
        return library_path()
    return native_package(request.param) / "lib/libsigdca.so"


def test_library_exports_what_the_header_declares(library):
    others = exported(library) - declared()
    assert declared() <= exported(library)
    assert {name for name in others if not name.startswith("sigdca_testing_")} == set()


def test_library_is_small_and_stripped(library):
    assert library.stat().st_size < MAX_LIBRARY_BYTES
    assert ".symtab" not in output("readelf", "-SW", library)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AMX is x86-64's")
def test_a_library_with_amx_has_avx512_too(tmp_path):
    """AMX's tables name its kernels."""
    configure(tmp_path, "-DSIGDCA_ISAS=amx")
    assert "kernels/avx512/fc.cc" in (tmp_path / "build.ninja").read_text()


@pytest.mark.parametrize("folder", ["lib", "lib64", "lib/x86_64-linux-gnu"])
def test_pkg_config_leads_back_to_where_it_lies(folder, tmp_path):
    configure(tmp_path, f"-DCMAKE_INSTALL_LIBDIR={folder}")
    lines = (tmp_path / "sigdca.pc").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line.partition(":")[0])
    prefix = found["prefix"].replace("${pcfiledir}", f"/opt/sigdca/{folder}/pkgconfig")
    assert os.path.normpath(prefix) == "/opt/sigdca"
    assert found["libdir"] == f"${{prefix}}/{folder}"


def test_library_needs_libc_alone(library):
    threads = set() if library == library_path() else {"libpthread.so.0"}
    assert dynamic(library, "NEEDED") <= LIBC | LOADERS | threads
    assert dynamic(library, "SONAME") == {"libsigdca.so.0"}
    assert not dynamic(library, "RPATH") | dynamic(library, "RUNPATH")
    stack = re.search(r"GNU_STACK.* (RWE?) ", output("readelf", "-lW", library))
    assert stack is not None
    assert stack[1] == "RW"


def test_codec_library_exports_what_its_header_declares():
    library = library_path().with_name("libsigdca-codec.so")
    assert exported(library) == declared(CODEC_HEADER)
    assert dynamic(library, "NEEDED") <= LIBC | LOADERS


@pytest.mark.parametrize("target", TARGETS)
def test_packages_library_loads_on_old_systems(native_package, target):
    library = native_package(target) / "lib/libsigdca.so"
    asked = re.findall(r"Name: GLIBC_([\d.]+)", output("readelf", "-VW", library))
    assert asked
    assert max(tuple(map(int, v.split("."))) for v in asked) <= JETPACK_4_GLIBC


@pytest.mark.parametrize("target", TARGETS)
def test_contents(native_package, target):
    package = native_package(target)
    assert package.name == f"sigdca-native-{version('sigdca')}-{target}"
    files = {str(p.relative_to(package)) for p in package.rglob("*") if not p.is_dir()}
    assert files == {
        "LICENSE",
        "README.md",
        "bin/dca-run",
        "examples/Makefile",
        "examples/README.md",
        "examples/c/classify.c",
        "examples/cpp/classify.cc",
        "examples/python/classify.py",
        "include/sigdca.h",
        "lib/libsigdca.a",
        "lib/libsigdca.so",
        "lib/libsigdca.so.0",
        f"lib/libsigdca.so.{version('sigdca')}",
        "lib/pkgconfig/sigdca.pc",
    }
    assert "@" not in (package / "README.md").read_text()
    assert not dynamic(package / "bin/dca-run", "NEEDED")


@pytest.mark.parametrize("target", TARGETS)
def test_packing_again_gives_the_same_bytes(native_package, target):
    archive = ROOT / "dist" / f"{native_package(target).name}.tar.gz"
    digest = hashlib.sha256(archive.read_bytes()).digest()
    output(ROOT / "scripts/native-target.sh", target)
    assert hashlib.sha256(archive.read_bytes()).digest() == digest
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (0, 0, "", "", 1577836800)
    }


def test_goldmonts_library_has_no_avx(native_package):
    library = native_package("x86-64-v2-goldmont") / "lib/libsigdca.so"
    code = output("objdump", "-d", "--no-show-raw-insn", library)
    assert re.search(r"\bmulps\b.*%xmm", code)  # it is code that was looked at
    assert not re.search(r"%[yz]mm|\tv[a-z0-9]+ +.*%xmm", code)


def test_versions_agree(dca_run):
    numbers = dict(re.findall(r"SIGDCA_VERSION_(MAJOR|MINOR) (\d+)", HEADER.read_text()))
    ours = version("sigdca")
    assert ours == f"{numbers['MAJOR']}.{numbers['MINOR']}.0"
    assert output(dca_run, "--version") == f"dca-run {ours}\n"
    ctypes.CDLL(str(library_path()))


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder]
    done = subprocess.run(
        [*command, "--sdist", "--wheel", ROOT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


def sources(pattern: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "sigdca").rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel(distributions):
    wheel, _ = distributions
    assert wheel.name.startswith(f"sigdca-{version('sigdca')}-py3-none-linux_")
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: info for info in archive.infolist()}
    shipped = {name for name in files if ".dist-info/" not in name}
    modules = {p for p in sources("*.py") if "/examples/" not in p and "/fuzz/" not in p}
    data = sources("*.j2") | sources("*.toml") | {"sigdca/py.typed", "sigdca/codec/SPEC.md"}
    native = {
        "sigdca/native/bin/dca-run",
        *sources("native/bin/dca-run-*"),  # those of other machines that were built
        "sigdca/native/include/sigdca.h",
        "sigdca/native/include/sigdca_codec.h",
        "sigdca/native/lib/libsigdca-codec.so",
        "sigdca/native/lib/libsigdca.so",
    }
    assert shipped == modules | data | native
    for name in native:
        if "/bin/" in name:
            assert files[name].external_attr >> 16 & 0o111 == 0o111
    assert files["sigdca/native/lib/libsigdca.so"].file_size < MAX_LIBRARY_BYTES


def test_source_distribution(distributions):
    _, sdist = distributions
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    native = "src/**/*", "include/*", "tools/*", "cmake/*", "toolchains/*", "CMakeLists.txt"
    wanted = set().union(*(sources(f"native/{pattern}") for pattern in native))
    assert wanted <= names
    assert {"LICENSE", "README.md", "pyproject.toml", "constraints.txt"} <= names
    assert not [name for name in names if name.startswith(("build/", "sigdca/native/bin"))]


CORE = "import sigdca.cli, sys; sys.exit(any(n in sys.modules for n in ('torch', 'ray')))"


def installed(wheel, folder, *extras):
    """A new environment with the wheel, and with what pip would bring for the extras."""
    venv, dependencies = folder / "venv", folder / "dependencies"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    environment = {"PATH": str(venv / "bin"), "HOME": str(folder)}
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin/python", "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", wheel], check=True, env=environment)
    dependencies.mkdir()
    for package in release.components(extras).values():
        link_package(package[0], dependencies)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")

    def run(*words, **changes):
        return subprocess.run(
            [str(venv / "bin" / words[0]), *map(str, words[1:])],
            cwd=folder,  # not where the sources are
            env=environment | changes,
            capture_output=True,
            text=True,
            check=False,
        )

    return site, dependencies, run


def test_the_wheel_works_in_an_empty_environment_without_compilers(distributions, tmp_path):
    """With what pip would bring for the core alone: no torch, no Ray, no scikit-build."""
    site, dependencies, run = installed(distributions[0], tmp_path)
    assert not {path.name for path in dependencies.iterdir()} & {"torch", "ray"}
    assert not {"torch", "ray"} & set(release.components(("edge",)))
    assert "torch" not in release.components(("join",)), "a board that joins needs Ray alone"
    assert run("python", "-c", CORE).returncode == 0
    help_text = run("sigdca", "--help")
    assert help_text.returncode == 0, help_text.stderr
    shown = run("sigdca", "inspect", ROOT / "tests/golden/v2/rans-map.dca", "--json")
    assert shown.returncode == 0, shown.stderr
    native = run("python", "-c", "from sigdca.native import library_path; print(library_path())")
    assert str(site) in native.stdout, native.stderr


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel(distributions, tmp_path):
    """Its smoke test, with what pip would bring for a server."""
    target = emulated("atom-x5-e3940").name
    _, _, run = installed(distributions[0], tmp_path, "cluster")
    wanted = ("--set", f"targets=[{target}]")
    job = ROOT / "jobs/lenet-300-100-mnist.yaml"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sigdca"
    changes = {
        "PATH": f"{tmp_path}/venv/bin:{os.environ['PATH']}",  # the emulator's too
        "SIGDCA_CACHE": os.environ.get("SIGDCA_CACHE", str(cache)),
    }
    done = run("sigdca", "run", job, "--smoke-test", "--json", *wanted, **changes)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["targets"][0]["verdict"] == "exact"
    assert (tmp_path / "runs/lenet-300-100-mnist-smoke/model.dca").exists()


def link_package(package, folder):
    """Makes what a package has installed importable from a folder, and nothing beside it."""
    for file in package.files or ():
        top = file.parts[0]
        if top != ".." and not (folder / top).exists():
            (folder / top).symlink_to(package.locate_file(top))


def test_the_bill_of_materials_says_what_is_needed_and_its_licence():
    found = release.components(release.EXTRAS)
    bill = release.bill("1.2.3", found)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    scopes = {one["name"]: one["scope"] for one in bill["components"]}
    assert scopes["numpy"] == scopes["pyarrow"] == "required"
    assert scopes["torch"] == scopes["ray"] == "optional"
    assert len({one["bom-ref"] for one in bill["components"]}) == len(scopes)
    text = release.licences(found)
    assert f"numpy {version('numpy')} (always): " in text
    assert re.search(r"^torch .*\(.*cluster.*\): .*BSD", text, re.M)
    assert "see the package" not in text


def test_a_release_names_what_it_lacks(tmp_path, monkeypatch):
    run = tmp_path / "dca-run-aarch64"
    names = [f"sigdca-native-0.2.0-{target}.tar.gz" for target in TARGETS]
    monkeypatch.setattr(release, "DIST", tmp_path)
    monkeypatch.setattr(release, "AARCH64_RUN", run)
    (tmp_path / names[1]).touch()
    assert release.lacking("0.2.0", TARGETS) == [names[0], run.name]
    (tmp_path / names[0]).touch()
    run.touch()
    assert release.lacking("0.2.0", TARGETS) == []


def test_a_tag_and_the_version_must_agree():
    assert release.wrong_tags("0.2.0", ["v0.2.0", "nightly"]) == []
    assert release.wrong_tags("0.2.0", ["v0.3.0"]) == ["v0.3.0"]
