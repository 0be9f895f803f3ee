"""The Parquet form of samples: what is written is read, and nonsense is refused."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sigdca.edge.samples import NO_LABEL, dump_samples, ids_of, joined, load_samples
from sigdca.errors import FormatError
from tests.samples import samples_of


def test_what_is_written_is_read():
    wrote = samples_of(range(7), labels={2: 5})
    read = load_samples(dump_samples(wrote), "x")
    for name in ("images", "times_s", "classes", "margins", "labels", "models"):
        assert (getattr(read, name) == getattr(wrote, name)).all()
    assert read.labels.tolist() == [NO_LABEL, NO_LABEL, 5] + [NO_LABEL] * 4
    assert dump_samples(read) == dump_samples(wrote)
    both = joined([read.take(slice(0, 2)), read.take(read.is_labelled)])
    assert ids_of(both.images) == [ids_of(wrote.images)[place] for place in (0, 1, 2)]


SHAPES = pa.list_(pa.int32(), 3)


def changed(**columns):
    """A file of samples with some columns replaced, or left out."""
    table = pq.read_table(pa.BufferReader(dump_samples(samples_of(range(3)))))
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.remove_column(place)
        if values is not None:
            table = table.append_column(name, values)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of samples"),
        (b"PAR1 and nothing else PAR1", "not a file of samples"),
        (changed(margin=None), "has no column 'margin'"),
        (changed(margin=pa.array(["a"] * 3)), "column 'margin' must not be string"),
        (changed(image=pa.array([b"a"] * 3)), "column 'image' must not be binary"),
        (changed(image=pa.array([b"a"] * 3, pa.binary(1))), r"shape \[1, 4, 4\] of 1 bytes"),
        (
            changed(shape=pa.array([[1, 4, 4], [1, 2, 8], [1, 4, 4]], pa.list_(pa.int32(), 3))),
            "one",
        ),
        (changed(shape=pa.array([[-1, -4, 4]] * 3, pa.list_(pa.int32(), 3))), "shape"),
        (changed(label=pa.array([0, -2, 1], pa.int32())), "column 'label' must be 0 to"),
        (changed(margin=pa.array([0, np.nan, 1], pa.float32())), "not finite"),
        (changed(time_s=pa.array([0.0, None, 1])), "column 'time_s' has nulls"),
    ],
)
def test_what_is_something_else_is_refused(content, message):
    with pytest.raises(FormatError, match=message) as found:
        load_samples(content, "x.parquet")
    assert str(found.value).startswith("x.parquet: ")
    assert "\n" not in str(found.value)


def test_no_byte_of_a_file_can_be_changed_to_crash_it():
    content = dump_samples(samples_of(range(3)))
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(content)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        try:
            load_samples(bytes(data[: rng.integers(1, len(data) + 1)]), "x")
        except FormatError:
            continue
