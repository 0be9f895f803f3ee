"""The pieces of a stream: each row once, and readers that start without torch."""

import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sigdca.data import open_imported
from sigdca.data.shards import to_dataset
from sigdca.distributed import reading
from sigdca.distributed.reading import Reader, pieces
from tests.images import numbers_of, write_data_set


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), piece=st.integers(1, 40))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_image_is_in_one_piece(tmp_path_factory, counts, piece):
    folder = tmp_path_factory.mktemp("set")
    write_data_set(folder, {"train": counts})
    imported = open_imported(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE_BYTES", piece * 8)
        found = list(pieces(imported, "train"))
    assert all(0 < one["last"] - one["first"] <= piece for one in found)
    table = Reader(imported, "train")(pa.Table.from_pylist(found))
    dataset = to_dataset(table, imported.manifest, "x")
    assert numbers_of(dataset.images) == list(range(sum(counts)))


def test_readers_and_importers_do_not_import_torch():
    code = "import sys, sigdca.distributed.reading, sigdca.distributed.importing; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
