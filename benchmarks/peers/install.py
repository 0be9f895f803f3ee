"""Virtual environments for the peers, made once: `python benchmarks/peers/install.py`."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CACHE = FOLDER.parent.parent / ".cache" / "peers"
GROUPS = ("run", "convert", "deepsparse", "nncodec")


def environment(group: str) -> Path:
    """The Python of a group's environment, which is made and filled if it is not there.

    Args:
        group: one of `GROUPS`; what is in it stands in `requirements-<group>.txt`.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    folder = CACHE / group
    python = folder / "bin" / "python"
    wanted = (FOLDER / f"requirements-{group}.txt").read_text()
    stamp = folder / "installed.txt"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"peers: installing {group} (once)", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    requirements = str(FOLDER / f"requirements-{group}.txt")
    subprocess.run([*command, "-r", requirements], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    for name in GROUPS:
        environment(name)
