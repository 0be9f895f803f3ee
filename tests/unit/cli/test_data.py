"""What `data import` refuses before it reads an image."""

import pytest

from sigdca.cli import main
from tests.images import write_image


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "8,8", "--name", "my flowers"), "such as myflowers; got 'my flowers'"),
        (("--size", "16384,16384"), "may have 268435456 bytes, 16384,16384 gives 805306368"),
    ],
)
def test_what_no_data_set_may_have_is_said_at_once(options, message, tmp_path, capsys):
    write_image(tmp_path / "from/train/cat/1.png")
    with pytest.raises(SystemExit) as ended:
        main(["data", "import", str(tmp_path / "from"), str(tmp_path / "to"), *options])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "to").exists()
