import pytest

from sigdca.codec.errors import LimitError, TrailingBitsError
from sigdca.codec.primer import PRIMER
from sigdca.codec.text_model import get_bytes, put_bytes


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 300, bytes(range(256)), PRIMER])
def test_bytes_come_back(data):
    assert get_bytes(put_bytes(data), len(data), "here", 1000) == data


def test_what_is_in_the_primer_costs_little():
    assert len(put_bytes(PRIMER[200:300])) < 30
    assert len(put_bytes(b'{"data":"mnist","model":"my.package:Net"}')) < 28


def test_what_is_unlike_it_costs_no_more_than_itself_and_a_little():
    data = bytes((value * 167 + 13) % 256 for value in range(200))
    assert len(put_bytes(data)) < 1.2 * len(data)


def test_a_limit_is_looked_at_before_anything_is_read():
    with pytest.raises(LimitError, match=r"^here: has 4294967295 bytes, limit 10$"):
        get_bytes(b"", 2**32 - 1, "here", 10)


def test_a_stream_that_goes_on_is_refused():
    with pytest.raises(TrailingBitsError, match=r"^here is read at byte"):
        get_bytes(put_bytes(PRIMER), 3, "here", 10)
