"""The native engine: libsigdca, which runs a container without unpacking it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sigdca.codec import Graph, encode_container, errors, expected_tensors
from sigdca.engines.agreement import Logits, NotFiniteError, check_logits
from sigdca.engines.network import check_network
from sigdca.errors import EngineError, FormatError
from sigdca.native import Model, NativeError, NativeFormatError, Session

_MANY = 32  # images that a second session computes together


class NativeEngine:
    """Executes a container by libsigdca.

    In the exact profile an image's logits have the same bits on every instruction set, for any
    number of threads, and whatever images are beside it.

    Attributes:
        name: `native`.
        batch_size: 1.
        session: what executes one image; tells instruction set, kernels and memory.
    """

    name = "native"
    batch_size = 1

    def __init__(self, container: bytes, threads: int = 1, profile: str = "exact") -> None:
        """Opens a container and makes it ready.

        Args:
            container: the content of a `.dca` file.
            threads: on how many threads it computes, at most 64.
            profile: `exact`, `fast` or `int8`; see `sigdca.native.Session`.

        Raises:
            FormatError: one of `sigdca.codec.errors`.
            EngineError: there is no library, or it refuses the container.
        """
        self._threads, self._profile = threads, profile
        self._many: Session | None = None
        try:
            self._model = Model(container)
            channels, *size = self._model.operators()[-1].output_shape
            if size != [1, 1]:
                raise EngineError(
                    f"native: the network's output must be one vector, got {(channels, *size)}"
                )
            self.session = self._open(1)
        except NativeFormatError as error:
            raise format_error(error) from error
        except NativeError as error:
            raise EngineError(f"native: {error}") from error

    @classmethod
    def of_network(
        cls,
        graph: Graph,
        tensors: Mapping[str, NDArray[np.float32]],
        threads: int = 1,
        profile: str = "exact",
    ) -> NativeEngine:
        """Packs a network into a container, without loss, and opens that.

        Args:
            graph: the network.
            tensors: float32 weights named `<layer>.weight` and so on, in torch's layouts; what no
                layer needs (a state_dict's step counters) is left out.
            threads: as above.
            profile: as above.

        Raises:
            EngineError: a tensor is missing or of another shape, or as above.
        """
        check_network(graph, tensors, cls.name)
        needed = {name: tensors[name] for name in expected_tensors(graph)}
        return cls(encode_container(graph, needed), threads, profile)

    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """See `Engine.logits`."""
        shape = self._model.info.input_shape
        if images.dtype != np.uint8 or images.shape[1:] != shape or len(images) == 0:
            raise EngineError(
                f"native: images must be uint8 [n, {', '.join(map(str, shape))}], got "
                f"{images.dtype} {list(images.shape)}"
            )
        try:
            logits = self._session_for(len(images)).run(images)
        except NativeError as error:
            kind = NotFiniteError if error.status_name == "not-finite" else EngineError
            raise kind(f"native: {error}") from error
        return check_logits(logits, len(images), "native")

    def _session_for(self, num_images: int) -> Session:
        """One image alone wants other kernels than many, which share each weight's load."""
        if num_images < _MANY // 2:
            return self.session
        if self._many is None:
            self._many = self._open(_MANY)
        return self._many

    def _open(self, max_batch: int) -> Session:
        return Session(
            self._model, profile=self._profile, threads=self._threads, max_batch=max_batch
        )


def format_error(error: NativeFormatError) -> FormatError:
    """The error of `sigdca.codec.errors` that a status names: `gap-overrun`, GapOverrunError."""
    name = "".join(part.capitalize() for part in error.status_name.split("-")) + "Error"
    kind: type[FormatError] = getattr(errors, name, FormatError)
    return kind(str(error))
