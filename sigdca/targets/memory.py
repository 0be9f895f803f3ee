"""How much memory the native library needs on a target: of a session made here, as it would be."""

from __future__ import annotations

from sigdca.native import Model, Session, isas
from sigdca.targets.spec import Target
from sigdca.targets.work import LANES

# What the library calls the instruction sets of a target's file.
_ISAS = {"avx512f": "avx512", "avx2": "avx2", "sse4.2": "sse4.2", "asimd": "neon"}


def memory_bytes(target: Target, container: bytes) -> int | None:
    """The most that a container and a session of it hold at once, at batch 1 on one thread.

    Which layouts a session chooses depends on the instruction set, and a little on the vendor:
    here, this processor's. Where it lacks the target's instruction set, the one whose vectors are
    nearest to as wide stands in for it.

    Args:
        target: whose instruction set chooses the layouts.
        container: the content of a `.dca` file.

    Returns:
        Bytes: the file's, the model's tables and the session's peak, which holds the weights of a
        layer while they are decoded. None where the target's engine is not the native one: nobody
        knows what another needs.

    Raises:
        EngineError: the library is missing, or refuses the container.
        FormatError: the container is not sound.
    """
    if target.engine != "native":
        return None
    model = Model(container)
    session = Session(model, isa=_nearest(target))
    return model.info.container_bytes + model.info.memory_bytes + session.info.peak_bytes


def _nearest(target: Target) -> str:
    names = {_ISAS[name] for cpu in target.cpu for name in cpu.isa if name in _ISAS}
    wanted = max(names, key=lambda name: LANES[name], default="reference")
    here = isas()
    if wanted in here:
        return wanted
    return min(here, key=lambda name: abs(LANES[name] - LANES[wanted]))
