import json

from hypothesis import given
from hypothesis import strategies as st

from sigdca.errors import JobError
from sigdca.job import Job, parse_job

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = st.sampled_from([*Job.model_fields, "x"])
BASE = "{name: a, model: m, data: {source: mnist}, train: {epochs: 1}}"


def message_of(text, settings):
    """What is said of the job; nothing if it is a good one. Any other exception fails the test."""
    try:
        parse_job(text, "a.yaml", settings)
    except JobError as error:
        return str(error)
    return ""


@given(st.text(max_size=200))
def test_any_text_is_a_job_or_one_line(text):
    assert "\n" not in message_of(text, [])


@given(key=KEYS, value=VALUES)
def test_any_value_anywhere_is_a_job_or_one_line(key, value):
    assert "\n" not in message_of(BASE, [f"{key}={json.dumps(value)}"])
