import pytest

from sigdca.errors import StorageError
from sigdca.storage import Ledger, Record, Walk, open_store


def filled(store, count=4):
    ledger = Ledger(store)
    for number in range(1, count + 1):
        ledger.append(
            Record(number=number, key="k", stage="test", iteration=1, duration_s=0, seed=0)
        )
    return ledger


def numbers(store):
    return [record.number for record in Walk(store).of(Ledger(store))]


def test_a_walk_is_what_the_job_came_by_since_it_began(tmp_path):
    store = open_store(str(tmp_path))
    records = filled(store).records
    walk = Walk(store)
    walk.begin()
    for number in (4, 2, 4):
        walk.add(records[number - 1])
    assert numbers(store) == [4, 2]
    assert not Walk(store).ended
    walk.end()
    Walk(store).add(records[0])  # a release comes behind the end
    assert numbers(store) == [4, 2, 1]
    assert Walk(store).ended
    walk.begin()
    assert (numbers(store), Walk(store).ended) == ([], False)


def test_a_run_from_before_there_were_walks_has_come_by_all_and_to_its_end(tmp_path):
    store = open_store(str(tmp_path))
    filled(store)
    assert numbers(store) == [1, 2, 3, 4]
    assert Walk(store).ended


@pytest.mark.parametrize("content", [b"", b"[]", b'{"points": "x"}'])
def test_a_damaged_walk_is_named(tmp_path, content):
    store = open_store(str(tmp_path))
    store.write("walk.json", content)
    with pytest.raises(StorageError, match=r"walk\.json: not of a run"):
        Walk(store)
