"""What goes out: the wheel, the source distribution, a bill of materials, licences, checksums.

    python scripts/release.py TARGET...     into dist/, beside the packages for these targets

Packages that could not be built here, for want of a compiler, are named at the end.
A commit with a tag v* is a release: the tag and the version in pyproject.toml must agree.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
AARCH64_RUN = ROOT / "sigdca/native/bin/dca-run-aarch64"  # which the wheel brings
EXTRAS = ("edge", "join", "cluster", "deepspeed")


def main() -> int:
    """Builds all but those packages; 2 if the tag and the version differ."""
    version = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[0]
    wrong = wrong_tags(version, tags())
    if wrong:
        print(f"pyproject.toml: version is {version}, the tag {wrong[0]}", file=sys.stderr)
        return 2
    for old in DIST.glob("sigdca-[0-9]*"):
        old.unlink()
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST)]
    subprocess.run(
        [*build, "--wheel", "--sdist", str(ROOT)], check=True, stdout=subprocess.DEVNULL
    )
    found = components(EXTRAS)
    write(f"sigdca-{version}.cdx.json", json.dumps(bill(version, found), indent=1) + "\n")
    write(f"sigdca-{version}-licences.txt", licences(found))
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        for path in sorted(DIST.glob("sigdca-*"))
    ]
    write("SHA256SUMS", "\n".join(sums) + "\n")
    print("\n".join(sums))
    if missing := lacking(version, sys.argv[1:]):
        print(f"== this release lacks what could not be built here: {', '.join(missing)}")
    return 0


def tags() -> list[str]:
    """The tags of this commit; none outside of a repository."""
    done = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


def wrong_tags(version: str, found: list[str]) -> list[str]:
    """Those that call this commit another version."""
    return [tag for tag in found if tag.startswith("v") and tag != f"v{version}"]


def lacking(version: str, targets: Sequence[str]) -> list[str]:
    """The files that a whole release has and this one has not."""
    packages = [DIST / f"sigdca-native-{version}-{target}.tar.gz" for target in targets]
    return [path.name for path in (*packages, AARCH64_RUN) if not path.exists()]


def components(extras: tuple[str, ...]) -> dict[str, tuple[Distribution, set[str]]]:
    """All packages that sigdca needs: with what for, which extras (or none: always)."""
    found: dict[str, tuple[Distribution, set[str]]] = {}
    for extra in ("", *extras):
        _collect("sigdca", {extra}, extra, found, set())
    found.pop("sigdca", None)
    return dict(sorted(found.items()))


def _collect(
    name: str,
    extras: set[str],
    purpose: str,
    found: dict[str, tuple[Distribution, set[str]]],
    seen: set[tuple[str, frozenset[str]]],
) -> None:
    key = re.sub(r"[-_.]+", "-", name).lower()
    if (key, frozenset(extras)) in seen:
        return
    seen.add((key, frozenset(extras)))
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return  # what a marker asks for elsewhere, or an extra that is not installed here
    found.setdefault(key, (package, set()))[1].add(purpose)
    for text in package.requires or ():
        need = Requirement(text)
        wanted = need.marker is None or any(
            need.marker.evaluate({"extra": extra}) for extra in (extras or {""})
        )
        if wanted:
            _collect(need.name, set(need.extras), purpose, found, seen)


def licence_of(package: Distribution) -> str:
    """What a package says of its licence, on one line."""
    about = package.metadata
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in about.get_all("Classifier") or ()
        if value.startswith("License :: ") and not value.endswith("OSI Approved")
    ]
    text = str(about.get("License") or "").strip().splitlines()
    return ", ".join(classifiers) or (text[0][:80] if text else "") or "see the package"


def bill(version: str, found: dict[str, tuple[Distribution, set[str]]]) -> dict[str, Any]:
    """A bill of materials, CycloneDX 1.6."""
    listed = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{package.version}",
            "name": name,
            "version": package.version,
            "purl": f"pkg:pypi/{name}@{package.version}",
            "scope": "required" if "" in purposes else "optional",
            "licenses": [{"license": {"name": licence_of(package)}}],
        }
        for name, (package, purposes) in found.items()
    ]
    root = f"pkg:pypi/sigdca@{version}"
    about = {
        "type": "application",
        "bom-ref": root,
        "name": "sigdca",
        "version": version,
        "purl": root,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": about},
        "components": listed,
        "dependencies": [{"ref": root, "dependsOn": [one["bom-ref"] for one in listed]}],
    }


def licences(found: dict[str, tuple[Distribution, set[str]]]) -> str:
    """A line for each package: name, version, which extras need it, licence."""
    lines = ["sigdca: Apache-2.0. libsigdca and dca-run contain nothing of others.", ""]
    for name, (package, purposes) in found.items():
        needed = "always" if "" in purposes else ", ".join(sorted(purposes))
        lines.append(f"{name} {package.version} ({needed}): {licence_of(package)}")
    return "\n".join(lines) + "\n"


def write(name: str, text: str) -> None:
    """A file of dist/, whole or not at all."""
    DIST.mkdir(exist_ok=True)
    part = DIST / f"{name}.part"
    part.write_text(text)
    part.replace(DIST / name)


if __name__ == "__main__":
    sys.exit(main())
