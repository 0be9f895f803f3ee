import pytest

from sigdca.errors import StorageError
from sigdca.storage import Ledger, Record, open_store


def record(number, stage="train", key="k"):
    return Record(
        number=number, key=key, stage=stage, iteration=1, duration_s=1.5, metrics={"x": 1}, seed=0
    )


def test_records_are_read_back_in_order(tmp_path):
    store = open_store(str(tmp_path))
    ledger = Ledger(store)
    for number in range(1, 12):
        ledger.append(record(number, key=f"k{number}"))
    again = Ledger(store)
    assert [found.number for found in again.records] == list(range(1, 12))
    assert again.find("k7") == [record(7, key="k7")]
    assert again.find("none") == []


def test_what_was_done_again_is_found_first(tmp_path):
    ledger = Ledger(open_store(str(tmp_path)))
    for number in (1, 2):
        ledger.append(record(number))
    ledger.append(record(3).model_copy(update={"status": "device-required"}))
    assert [found.number for found in ledger.find("k")] == [2, 1]


def test_records_of_a_stage(tmp_path):
    ledger = Ledger(open_store(str(tmp_path)))
    ledger.append(record(1))
    ledger.append(record(2, "test"))
    assert [found.number for found in ledger.of("test")] == [2]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"number": 1}'])
def test_a_damaged_record_is_named(tmp_path, content):
    store = open_store(str(tmp_path))
    store.write("ledger/0001-train.json", content)
    with pytest.raises(StorageError, match=r"0001-train\.json: not a ledger record"):
        Ledger(store)


def test_a_record_that_is_gone_leaves_its_number_free(tmp_path):
    store = open_store(str(tmp_path))
    ledger = Ledger(store)
    assert ledger.next_number == 1
    for number in (1, 2, 3):
        ledger.append(record(number))
    store.child("ledger").remove_file("0002-train.json")
    assert Ledger(store).next_number == 4, "the third is not written over"
