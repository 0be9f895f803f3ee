"""The native engine: the library as the loop and the command use it."""

import re
from pathlib import Path

import numpy as np
import pytest

import sigdca.native
from sigdca.codec import errors
from sigdca.engines import ENGINES, container_engine, open_engine
from sigdca.engines.native import NativeEngine
from sigdca.errors import EngineError, FormatError
from sigdca.native.library import FIRST_FORMAT_STATUS

GOLDEN = Path(__file__).parents[2] / "golden"


class TestEngine:
    def test_is_the_one_for_containers(self):
        assert "native" in ENGINES
        assert container_engine() == "native"

    def test_a_container_and_its_network_are_the_same(self, lenet, make):
        images = lenet.images(40)
        data = make.case_bytes(lenet)
        expected = NativeEngine.of_network(lenet.graph, lenet.tensors).logits(images)
        got = open_engine("native", lenet.graph, {}, container=data).logits(images)
        assert got.tobytes() == expected.tobytes()

    @pytest.mark.parametrize("cut", [1, 7, 15, 16, 31])
    def test_cuts_change_no_bit(self, lenet, make, cut):
        engine = NativeEngine(make.case_bytes(lenet), threads=2)
        images = lenet.images(40)
        parts = [engine.logits(images[at : at + cut]) for at in range(0, 40, cut)]
        assert np.concatenate(parts).tobytes() == engine.logits(images).tobytes()

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("002-png", errors.MagicError),
            ("130-graph-padding-bomb", errors.LimitError),
            ("207-book-0", errors.CodebookError),
            ("230-gap-overrun", errors.GapOverrunError),
        ],
    )
    def test_errors_have_the_codecs_names(self, name, error):
        with pytest.raises(error) as caught:
            NativeEngine((GOLDEN / "hostile" / f"{name}.dca").read_bytes())
        assert type(caught.value) is error

    def test_every_status_has_a_class(self):
        header = Path(sigdca.native.__file__).parent / "include/sigdca.h"
        numbers = re.findall(r"^  SIGDCA_(\w+) = (\d+)", header.read_text(), re.MULTILINE)
        names = [name for name, number in numbers if int(number) >= FIRST_FORMAT_STATUS]
        assert len(names) == 29
        for name in names:
            kind = "".join(part.capitalize() for part in name.split("_")) + "Error"
            assert issubclass(getattr(errors, kind), FormatError)

    def test_refuses_more_threads_than_there_may_be(self, lenet, make):
        with pytest.raises(EngineError, match=r"native: session: threads must be in 1\.\.64"):
            NativeEngine(make.case_bytes(lenet), threads=65)

    def test_a_missing_library_is_an_engine_error(self, lenet, monkeypatch, tmp_path):
        monkeypatch.setenv("SIGDCA_LIBRARY", str(tmp_path / "none.so"))
        assert container_engine() == "onnxruntime"
