"""What leaves a board, once, and what never does."""

import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from sigdca.edge.acquired import LEAST_BYTES, About, make_store
from sigdca.edge.samples import ids_of, joined, load_samples
from sigdca.edge.sending import MAX_DELTA_BYTES, send_delta, send_samples
from sigdca.errors import JobError
from sigdca.storage import Store, open_store
from tests.samples import samples_of

ABOUT = About("board-1", (1, 4, 4), 3, LEAST_BYTES, False)


@pytest.fixture
def store(tmp_path):
    found = make_store(tmp_path / "new", ABOUT)
    found.append(samples_of(range(6), labels={1: 2, 3: 0}))
    return found


@pytest.fixture
def there(tmp_path):
    return open_store(str(tmp_path / "servers"))


def arrived(there):
    return joined([load_samples(there.read(name), name) for name, _ in there.files()])


def test_labelled_samples_are_sent_once(store, there):
    assert send_samples(store, there.root).samples == 2
    (name,) = [name for name, _ in there.files()]
    assert name.startswith("boards/board-1/samples/")
    assert arrived(there).labels.tolist() == [2, 0]
    assert send_samples(store, there.root).samples == 0
    store.label({ids_of(samples_of([5]).images)[0]: 1, ids_of(samples_of([1]).images)[0]: 1})
    assert send_samples(store, there.root).samples == 2  # a new label, and another one
    assert send_samples(store, there.root, unlabelled=True).samples == 3
    assert send_samples(store, there.root, unlabelled=True).samples == 0
    assert send_samples(store, there.path("elsewhere")).samples == 3


def test_servers_with_folders_of_the_same_name_get_the_samples_each(store, tmp_path, monkeypatch):
    servers = {}
    for name in ("a", "b"):
        files = SubTreeFileSystem(str(tmp_path / name), LocalFileSystem())
        servers[f"s3://lab/new?endpoint_override={name}:9000"] = Store(files, "lab/new")
    monkeypatch.setattr("sigdca.edge.sending.open_store", servers.__getitem__)
    for address, server in servers.items():
        assert [send_samples(store, address).samples for _ in range(2)] == [2, 0]
        assert len(server.files()) == 1


def test_a_place_is_the_same_however_its_address_is_written(store, tmp_path, monkeypatch):
    files = SubTreeFileSystem(str(tmp_path / "servers"), LocalFileSystem())
    monkeypatch.setattr("sigdca.edge.sending.open_store", lambda address: Store(files, "lab/x"))
    sent = [
        send_samples(store, address).samples
        for address in (
            "s3://lab/x",
            "s3://lab/x/",
            "s3://key:secret@lab/x",
            "s3://lab/x?region=eu-west-1",
            "s3://lab/x?endpoint_override=a:9000",
            "s3://other:key@lab/x/?scheme=http&endpoint_override=a:9000",
            "gs://lab/x",
        )
    ]
    assert sent == [2, 0, 0, 0, 2, 0, 2]


def test_an_interrupted_sending_is_done_again_without_doubles(store, there, monkeypatch):
    send_samples(store, there.root)
    before = there.files()
    for note in store.root.glob("sent-*.bin"):  # as if it was killed before it could note it
        note.write_bytes(b"1234567")
    assert send_samples(store, there.root).samples == 2
    assert there.files() == before


def test_a_private_store_sends_nothing_but_deltas(store, there):
    private = make_store(store.root, About("b", (1, 4, 4), 3, LEAST_BYTES, True))
    with pytest.raises(JobError, match="is private: its samples never leave this board"):
        send_samples(private, there.root, unlabelled=True)
    assert not there.is_folder
    name = send_delta("board-1", b"delta", there)
    assert send_delta("board-1", b"delta", there) == name
    assert [name for name, _ in there.files()] == [name]


def test_what_is_no_delta_is_refused(there):
    with pytest.raises(JobError, match="1048577 bytes, at most"):
        send_delta("b", bytes(MAX_DELTA_BYTES + 1), there)
    with pytest.raises(JobError, match="board: must be a name"):
        send_delta("../b", b"", there)
