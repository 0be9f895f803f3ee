"""The pages beside a search, as they are started."""

import time
import urllib.error
import urllib.request

import optuna
import pyarrow.fs as pafs
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sigdca.cli.dashboards import dashboards
from sigdca.errors import JobError
from sigdca.storage import Store, open_store


def page(address):
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.URLError:
            assert time.monotonic() < deadline, address
            time.sleep(0.2)


def test_both_answer_and_end_with_the_search(tmp_path):
    store = open_store(str(tmp_path))
    (tmp_path / "j.journal").write_text("of an earlier start, which is made anew")
    with dashboards(store, "j.journal") as pages:
        assert not (tmp_path / "j.journal").exists()
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "j.journal")))
        optuna.create_study(storage=storage, study_name="shown").optimize(lambda _: 1.0, 1)
        assert set(pages) == {"optuna-dashboard", "tensorboard"}
        for address in pages.values():
            assert page(address)[0] == 200
        status, studies = page(f"{pages['optuna-dashboard']}/api/studies")
        assert (status, b"shown" in studies) == (200, True)
    for address in pages.values():
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=5)


def test_a_study_elsewhere_has_none():
    there = Store(pafs.SubTreeFileSystem("/", pafs.LocalFileSystem()), "lab/study")
    with pytest.raises(JobError, match="must lie on a local disk, not at lab/study"):
        dashboards(there, "j").__enter__()
