"""Hash, hits and differences of logits; and what is no logits at all."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sigdca.engines import Counts, check_logits, compare, evaluate, logits_sha256
from sigdca.errors import EngineError

finite = st.floats(-1e6, 1e6, width=32)
some_logits = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=finite
)


def test_hash_is_that_of_the_raw_little_endian_floats():
    logits = np.array([[1.5, -2.0], [0.0, 3.25]], np.float32)
    expected = hashlib.sha256(struct.pack("<4f", 1.5, -2.0, 0.0, 3.25)).hexdigest()
    assert logits_sha256(logits) == expected
    assert logits_sha256(logits.astype(">f4")) == expected
    assert logits_sha256(np.asfortranarray(logits)) == expected


def test_hash_tells_negative_zero_from_zero():
    zero = np.zeros((1, 2), np.float32)
    assert logits_sha256(zero) != logits_sha256(-zero)


def test_evaluate_counts_hits():
    logits = np.array([[1, 2], [3, 0], [0, 1]], np.float32)
    counts = evaluate(logits, np.array([1, 1, 1], np.uint8))
    assert counts == Counts(num_correct=2, num_samples=3)
    assert counts.accuracy == pytest.approx(200 / 3)
    assert counts.error == pytest.approx(100 / 3)


@pytest.mark.parametrize("num_labels", [0, 2, 4])
def test_evaluate_wants_a_label_for_each_image(num_labels):
    with pytest.raises(EngineError, match=f"3 images but {num_labels} labels"):
        evaluate(np.zeros((3, 2), np.float32), np.zeros(num_labels, np.uint8))


def test_evaluate_of_nothing_is_no_accuracy():
    with pytest.raises(EngineError, match="0 images but 0 labels"):
        evaluate(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8))


def test_compare_finds_difference_flips_and_scale():
    reference = np.array([[1.0, -8.0], [2.0, 3.0]], np.float32)
    other = np.array([[1.0, -8.5], [3.5, 3.0]], np.float32)
    comparison = compare(other, reference)
    assert comparison.max_abs_difference == 1.5
    assert comparison.scale == 8.0
    assert comparison.argmax_flips == 1
    assert not comparison.equal_bits


@given(some_logits)
def test_logits_equal_themselves(logits):
    comparison = compare(logits.copy(), logits)
    assert comparison.equal_bits
    assert (comparison.max_abs_difference, comparison.argmax_flips) == (0.0, 0)


@given(some_logits, st.data())
def test_one_changed_bit_is_found(logits, data):
    row = data.draw(st.integers(0, logits.shape[0] - 1))
    column = data.draw(st.integers(0, logits.shape[1] - 1))
    other = logits.copy()
    other[row, column] = np.nextafter(other[row, column], np.float32(np.inf))
    assert not compare(other, logits).equal_bits


def test_compare_refuses_other_shapes():
    with pytest.raises(EngineError, match=r"shape \(2, 3\), the reference has \(2, 4\)"):
        compare(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((0, 10), np.float32), "must have shape (3, K), got (0, 10)"),
        (np.zeros((3, 0), np.float32), "must have shape (3, K), got (3, 0)"),
        (np.zeros((3, 2, 1), np.float32), "must have shape (3, K), got (3, 2, 1)"),
        (np.zeros((3, 2)), "must be float32, got float64"),
        ([[0.0]] * 3, "must be an array, got list"),
        (np.array([[0], [np.nan], [0]], np.float32), "logits of image 1 are not finite"),
        (np.array([[0], [0], [-np.inf]], np.float32), "logits of image 2 are not finite"),
    ],
)
def test_what_is_no_logits_is_refused(logits, message):
    with pytest.raises(EngineError) as caught:
        check_logits(logits, 3, "engine 'x'")
    assert str(caught.value).startswith("engine 'x': ")
    assert message in str(caught.value)


def test_big_endian_logits_become_little_endian():
    logits = np.array([[1.5, 2.5]], ">f4")
    checked = check_logits(logits, 1, "x")
    assert checked.dtype == np.dtype("<f4")
    assert checked.tolist() == [[1.5, 2.5]]
