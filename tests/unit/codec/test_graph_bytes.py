import pytest

from sigdca.codec import Graph, Op
from sigdca.codec.errors import FormatError, GraphBytesError, OperatorError
from sigdca.codec.graph_bytes import get_graph, put_graph

POOL = {"kernel": (3, 2), "stride": (2, 300), "padding": (0, 1), "ceil": 1}
GRAPH = Graph(
    (1, 28, 28),
    1 / 256,
    (
        Op("max_pool", "", (0,), POOL),
        Op("concat", "", (1, 1, 1)),
        Op("batch_norm", "nö", (2,), {"eps": 1e-5}),
        Op("add", "", (3, 2)),
    ),
)
LITERAL = bytes.fromhex(
    "01 1c 1c"  # 1 x 28 x 28
    "00 00 00 00 00 00 70 3f"  # 1/256
    "04"  # 4 operators
    "03 00  03 02  02 ac 02  00 01  01"  # max_pool of the value before
    "0d 03 00 00 00"  # concat of 3
    "0b 00  03 6e c3 b6  f1 68 e3 88 b5 f8 e4 3e"  # batch_norm "nö", 1e-5
    "0c 00 01"  # add of value 3, the one before, and value 2
)


def test_literal_bytes():
    assert put_graph(GRAPH) == LITERAL
    assert get_graph(LITERAL) == GRAPH


def test_a_lenet_is_small():
    ops = [Op("flatten", "", (0,))]
    for name, size in (("ip1", 300), ("ip2", 100), ("ip3", 10)):
        ops.append(Op("fc", name, (len(ops),), {"out_features": size, "bias": 1}))
        ops.append(Op("relu", "", (len(ops),)))
    assert len(put_graph(Graph((1, 28, 28), 1 / 256, tuple(ops[:-1])))) <= 48


def test_equal_graphs_give_equal_bytes():
    def lrn(k):
        attrs = {"k": k, "size": 5, "alpha": 1.0, "beta": 1.0}
        return Graph((1, 2, 2), 1.0, (Op("lrn", "", (0,), attrs),))

    assert lrn(0.0) == lrn(-0.0)
    assert put_graph(lrn(0.0)) == put_graph(lrn(-0.0))


def test_does_not_write_nonsense():
    with pytest.raises(OperatorError, match="unknown kind 'gelu'"):
        put_graph(Graph((1, 2, 2), 1.0, (Op("gelu", "", (0,)),)))


@pytest.mark.parametrize("length", range(len(LITERAL)))
def test_refuses_to_end_at(length):
    with pytest.raises(FormatError, match=r"^graph: .*ends early"):
        get_graph(LITERAL[:length])


def test_refuses_a_byte_behind():
    end = len(LITERAL)
    with pytest.raises(
        GraphBytesError, match=f"graph: ends at byte {end}, its section at {end + 1}"
    ):
        get_graph(LITERAL + b"\0")
