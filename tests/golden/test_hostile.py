"""The hostile files: each is refused with the error and the line that hostile/README.md says."""

import re
from pathlib import Path

import pytest

from sigdca.codec import decode_container, errors, inspect_container
from sigdca.errors import FormatError

FOLDER = Path(__file__).parent / "hostile"
ROW = re.compile(r"\| (\S+\.dca) \| [^|]+ \| (\w+) \| `(.*)` \|")
VERDICTS = [match.groups() for match in ROW.finditer((FOLDER / "README.md").read_text())]

# What only an encoder can come upon.
OF_ENCODERS = {"TensorError", "CoderError"}


def test_every_file_has_a_verdict():
    names = sorted(name for name, _, _ in VERDICTS)
    assert names == sorted(path.name for path in FOLDER.glob("*.dca"))
    assert len({name[:3] for name in names}) == len(names)


def test_every_error_of_a_reader_is_among_them():
    named = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, FormatError) and value is not FormatError
    }
    assert {error for _, error, _ in VERDICTS} == named - OF_ENCODERS


@pytest.mark.parametrize("read", [decode_container, inspect_container])
@pytest.mark.parametrize(("name", "error", "line"), VERDICTS, ids=[row[0] for row in VERDICTS])
def test_is_refused(name, error, line, read, streams):
    with pytest.raises(getattr(errors, error)) as caught:
        read((FOLDER / name).read_bytes())
    assert type(caught.value).__name__ == error
    assert str(caught.value) == line
    assert caught.value.exit_code == 2
