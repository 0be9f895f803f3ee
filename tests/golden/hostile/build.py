"""How the files here and README.md were made: `python tests/golden/hostile/build.py`.

It adds files, and never overwrites one. README.md is written anew from the tables of cases.
"""

from pathlib import Path

import cases_chunks
import cases_file
import cases_graph
import cases_tensors
import cases_v2

from sigdca.codec import decode_container
from sigdca.errors import FormatError

FOLDER = Path(__file__).parent
TOPICS = (
    (1, cases_file.CASES),
    (101, cases_graph.CASES),
    (201, cases_tensors.CASES),
    (301, cases_v2.CASES),
    (336, cases_chunks.CASES),
)


def verdict(data):
    try:
        decode_container(data)
    except FormatError as error:
        return type(error).__name__, str(error)
    return "accepted", ""


def main():
    lines = [
        "# Hostile files, and what each must give",
        "",
        "Every file is refused with this error and this line. Numbers are never given again: a",
        "new case goes to the end of its table in `cases_*.py`, and",
        "`python tests/golden/hostile/build.py` writes it.",
        "",
        "| file | what it is | error | line |",
        "| --- | --- | --- | --- |",
    ]
    for first, cases in TOPICS:
        for number, (name, error, what, data) in enumerate(cases, first):
            path = FOLDER / f"{number:03}-{name}.dca"
            if not path.exists():
                path.write_bytes(data)
            got, line = verdict(path.read_bytes())
            if got != error:
                raise SystemExit(f"{path.name}: must give {error}, gives {got}: {line}")
            lines.append(f"| {path.name} | {what} | {error} | `{line}` |")
    (FOLDER / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
