"""Models and sessions through ctypes: what they tell, what they refuse, how they may be used."""

import gc
from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import inspect_container
from sigdca.errors import FormatError
from sigdca.native import Model, NativeError, NativeFormatError, Session, isas
from sigdca.native import library as native

GOLDEN = Path(__file__).parents[2] / "golden"


class TestModel:
    @pytest.mark.parametrize("path", sorted((GOLDEN / "v1").glob("*.dca")), ids=lambda p: p.stem)
    def test_tells_what_inspect_tells(self, path):
        expected, model = inspect_container(path.read_bytes()), Model(path)
        info = model.info
        assert info.container_bytes == expected.container_bytes
        assert info.dense_bytes == expected.dense_bytes
        assert info.input_shape == expected.graph.input_shape
        assert info.input_scale == expected.graph.input_scale
        operators = model.operators()
        assert [o.kind for o in operators] == [op.kind for op in expected.graph.ops]
        assert [o.name for o in operators] == [op.name for op in expected.graph.ops]
        layers = {layer.name: layer for layer in expected.layers}
        for operator in operators:
            if operator.name:
                assert operator.num_weights == layers[operator.name].num_weights
                assert operator.bytes == layers[operator.name].bytes
            else:
                assert (operator.num_weights, operator.bytes) == (0, 0)
        assert info.num_classes == np.prod(operators[-1].output_shape)

    def test_from_bytes_and_from_a_file_are_the_same(self, lenet, tmp_path):
        path = tmp_path / "größe.dca"
        data = (GOLDEN / "v1" / "sparse-fillers.dca").read_bytes()
        path.write_bytes(data)
        images = np.zeros((1, *Model(path).info.input_shape), np.uint8)
        images[:] = 7
        results = [Session(Model(source)).run(images) for source in (path, str(path), data)]
        assert len({result.tobytes() for result in results}) == 1

    def test_a_buffer_that_changes_later_is_not_seen(self):
        data = bytearray((GOLDEN / "v1" / "sparse-fillers.dca").read_bytes())
        model = Model(data)
        data[:] = bytes(len(data))
        Session(model)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(
            NativeError, match=r"nothing\.dca: cannot be opened: No such"
        ) as caught:
            Model(tmp_path / "nothing.dca")
        assert caught.value.status_name == "io"

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(NativeError, match="is no file"):
            Model(tmp_path)

    def test_bad_bytes_have_a_named_error(self):
        with pytest.raises(NativeFormatError) as caught:
            Model(b"\x89PNG\r\n\x1a\n" + bytes(100))
        assert caught.value.status_name == "magic"
        assert isinstance(caught.value, FormatError)


class TestSession:
    def test_tells_how_it_runs(self, lenet):
        info = Session(lenet.model, isa="reference", threads=2, max_batch=3, profile="fast").info
        assert (info.isa, info.profile, info.threads, info.max_batch) == (
            "reference",
            "fast",
            2,
            3,
        )
        assert info.activation_bytes >= 2 * 20 * 24 * 24 * 4

    def test_tells_of_each_layer(self, lenet):
        session = Session(lenet.model, isa="reference")
        layers = session.layers()
        assert [layer.name for layer in layers] == ["conv1", "conv2", "ip1", "ip2"]
        for layer in layers:
            assert layer.kernel == "reference"
            nonzero = np.count_nonzero(lenet.tensors[f"{layer.name}.weight"])
            assert layer.num_nonzero == nonzero
        assert sum(layer.weight_bytes for layer in layers) == session.info.weight_bytes

    def test_the_peak_holds_a_layer_that_is_being_decoded(self, lenet):
        session = Session(lenet.model)
        kept = session.info.weight_bytes + session.info.activation_bytes
        most = max(layer.num_nonzero for layer in session.layers())
        assert kept < session.info.peak_bytes < kept + 32 * most + 65536

    def test_memory_grows_little_with_the_batch(self, lenet):
        one = Session(lenet.model).info.activation_bytes
        many = Session(lenet.model, max_batch=256).info.activation_bytes
        assert many - one <= 256 * 2 * 800 * 4 * 4

    def test_no_images_give_no_logits(self, lenet):
        assert Session(lenet.model).run(lenet.images(0)).shape == (0, 10)

    def test_runs_again_and_again(self, lenet):
        session = Session(lenet.model, threads=2, max_batch=4)
        first = session.run(lenet.images(9, seed=1)).tobytes()
        session.run(lenet.images(7, seed=2))
        assert session.run(lenet.images(9, seed=1)).tobytes() == first

    def test_bound_arrays_are_read_and_written_in_place(self, lenet):
        session = Session(lenet.model)
        images, logits = lenet.images(1), np.empty((1, 10), np.float32)
        call = session.bind(images, logits)
        for seed in range(3):
            images[:] = lenet.images(1, seed)
            call()
            assert logits.tobytes() == session.run(lenet.images(1, seed)).tobytes()

    def test_a_bound_call_keeps_what_it_needs(self, make):
        case = make.lenet_5()
        expected = Session(case.model).run(case.images(1))
        logits = np.empty((1, 10), np.float32)
        call = Session(Model(bytes(case.model._data))).bind(case.images(1), logits)
        gc.collect()
        call()
        assert logits.tobytes() == expected.tobytes()

    @pytest.mark.parametrize(
        "images",
        [
            np.zeros((1, 1, 28, 28), np.float32),
            np.zeros((1, 28, 28), np.uint8),
            np.zeros((1, 1, 28, 27), np.uint8),
            np.zeros((2, 1, 28, 56), np.uint8)[..., ::2],
        ],
    )
    def test_refuses_to_bind_other_images(self, lenet, images):
        with pytest.raises(NativeError, match=r"images must be contiguous uint8 \[n, 1, 28, 28\]"):
            Session(lenet.model).bind(images, np.empty((len(images), 10), np.float32))

    @pytest.mark.parametrize(
        "logits",
        [np.empty((1, 10)), np.empty((2, 10), np.float32), np.empty((1, 20), np.float32)[:, ::2]],
    )
    def test_refuses_to_bind_other_logits(self, lenet, logits):
        with pytest.raises(NativeError, match=r"logits must be contiguous, writable float32"):
            Session(lenet.model).bind(lenet.images(1), logits)

    @pytest.mark.parametrize(
        ("options", "line"),
        [
            ({"threads": 0}, "session: threads must be at least 1, got 0"),
            ({"threads": 65}, "session: threads must be in 1..64, got 65"),
            ({"max_batch": 0}, "session: max_batch must be at least 1, got 0"),
            ({"max_batch": 257}, "session: max_batch must be in 1..256, got 257"),
            (
                {"profile": "quick"},
                "session: profile must be one of exact, fast, int8, got 'quick'",
            ),
            (
                {"isa": "avx3"},
                f"isa: 'avx3' is no instruction set; there are {', '.join(isas())}",
            ),
        ],
    )
    def test_refuses_other_options(self, lenet, options, line):
        with pytest.raises(NativeError) as caught:
            Session(lenet.model, **options)
        assert str(caught.value) == line
        assert caught.value.status_name == "invalid-argument"

    def test_says_what_this_processor_lacks(self, lenet):
        missing = {"amx", "avx512", "avx2", "sse4.2", "neon"} - set(isas())
        for isa in missing:
            with pytest.raises(NativeError, match="not in this build or processor; there") as got:
                Session(lenet.model, isa=isa)
            assert got.value.status_name == "unsupported"

    def test_weights_that_are_not_sound_are_found(self):
        model = Model((GOLDEN / "hostile" / "230-gap-overrun.dca").read_bytes())
        with pytest.raises(NativeFormatError) as caught:
            Session(model)
        assert caught.value.status_name == "gap-overrun"

    @pytest.mark.parametrize("profile", ["exact", "fast"])
    def test_says_which_image_is_not_finite_and_gives_the_others(self, make, profile):
        case = make.case(make.plain("flatten", 0), make.fc("f", 1, 3), shape=(1, 1, 2))
        case.tensors["f.weight"][:] = 3e38
        model = Model(make.case_bytes(case))
        images = np.array([[0, 0], [255, 255], [0, 0]], np.uint8).reshape(3, 1, 1, 2)
        session = Session(model, profile=profile, max_batch=2)
        logits = np.empty((3, 3), np.float32)
        with pytest.raises(NativeError, match="logits of image 1 are not finite") as caught:
            session.bind(images, logits)()
        assert caught.value.status_name == "not-finite"
        assert np.isfinite(logits[[0, 2]]).all()
        assert not np.isfinite(logits[1]).all()


class TestEnvironment:
    CODE = (
        "from sigdca.native import Model, Session\n"
        "try:\n"
        f" model = Model({str(GOLDEN / 'v1' / 'all-zero.dca')!r})\n"
        " print(Session(model).info.isa, Session(model, isa='reference').info.isa)\n"
        "except Exception as error: print(error)\n"
    )

    @pytest.mark.parametrize("isa", isas())
    def test_chooses_the_instruction_set(self, in_python, isa):
        assert in_python(self.CODE, SIGDCA_ISA=isa) == f"{isa} reference"

    def test_an_empty_one_is_none(self, in_python):
        best = in_python(self.CODE, SIGDCA_ISA="")
        assert best.split()[0] in isas()[:2]  # no tile computes exactly

    def test_an_unknown_one_is_refused(self, in_python):
        line = f"SIGDCA_ISA: 'sse9' is no instruction set; there are {', '.join(isas())}"
        assert in_python(self.CODE, SIGDCA_ISA="sse9") == line

    def test_a_missing_library_is_named(self, in_python, tmp_path):
        line = in_python(self.CODE, SIGDCA_LIBRARY=str(tmp_path / "none.so"))
        assert line.startswith("native: libsigdca.so is not in SIGDCA_LIBRARY (")

    def test_what_is_no_library_is_named(self, in_python):
        line = in_python(self.CODE, SIGDCA_LIBRARY=__file__)
        assert line.startswith(f"native: {__file__} cannot be loaded: ")


def test_statuses_are_called_what_the_library_calls_them():
    numbers = {**dict(enumerate(native._NAMES)), **dict(enumerate(native._FORMAT_NAMES, 16))}
    told = {number: native.library().sigdca_status_name(number).decode() for number in numbers}
    assert told == numbers
    unknown = native.library().sigdca_status_name(16 + len(native._FORMAT_NAMES)).decode()
    assert unknown not in numbers.values(), "there are no more"
