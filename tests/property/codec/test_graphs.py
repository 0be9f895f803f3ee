"""Graphs to bytes and back; any bytes are a sound graph or a FormatError."""

from hypothesis import given
from hypothesis import strategies as st

from sigdca.codec import OP_KINDS, Graph, Op, expected_tensors, infer_shapes
from sigdca.codec.graph_bytes import get_graph, put_graph
from sigdca.errors import FormatError

NAMES = st.text(st.characters(min_codepoint=160, codec="utf-8"), min_size=1, max_size=20)


def attrs(kind, small):
    """Attributes of a kind: anywhere in their ranges, or small enough to fit mostly."""
    drawn = {}
    for name, attr in OP_KINDS[kind].attrs.items():
        low, high = int(attr.low), int(min(attr.high, 3) if small else attr.high)
        whole = st.integers(low, high)
        drawn[name] = {
            "int": whole,
            "pair": st.tuples(whole, whole),
            "float": st.floats(attr.low, attr.high),
        }[attr.type]
    return st.fixed_dictionaries(drawn)


@st.composite
def graphs(draw):
    """Operators that take any value before them. Some do not fit: those are left out."""
    shape = draw(st.tuples(*[st.integers(1, 12)] * 3))
    graph = Graph(shape, draw(st.floats(1e-6, 1e6)), (Op("relu", "", (0,)),))
    for kind in draw(st.lists(st.sampled_from(sorted(OP_KINDS)), max_size=8)):
        low, high = OP_KINDS[kind].num_inputs
        values = st.integers(0, len(graph.ops))
        inputs = draw(st.lists(values, min_size=low, max_size=min(high, 4)))
        name = draw(NAMES) if OP_KINDS[kind].tensors else ""
        op = Op(kind, name, tuple(inputs), draw(attrs(kind, draw(st.booleans()))))
        longer = Graph(graph.input_shape, graph.input_scale, (*graph.ops, op))
        try:
            expected_tensors(longer)
        except FormatError:
            continue
        graph = longer
    return graph


@given(graphs())
def test_round_trip(graph):
    data = put_graph(graph)
    assert get_graph(data) == graph
    assert put_graph(get_graph(data)) == data
    assert infer_shapes(get_graph(data)) == infer_shapes(graph)


@given(graphs(), st.data())
def test_mutated_bytes(graph, data):
    mutated = bytearray(put_graph(graph))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(mutated))


@given(st.binary(max_size=200))
def test_any_bytes(data):
    check(data)


def check(data):
    try:
        graph = get_graph(data)
        expected_tensors(graph)
    except FormatError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert get_graph(put_graph(graph)) == graph
    assert "\n" not in refusal
