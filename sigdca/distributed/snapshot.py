"""Ray Train's record of a stage's checkpoints, made anew where a kill has spoilt it.

Ray writes the file over itself after each epoch. One that is cut off, or that names a checkpoint
which is gone, would end every later start of the stage.
"""

from __future__ import annotations

import json

import ray.train
from ray.train.v2._internal.constants import CHECKPOINT_MANAGER_SNAPSHOT_FILENAME as FILE_NAME
from ray.train.v2._internal.exceptions import CheckpointManagerInitializationError
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
from ray.train.v2._internal.execution.storage import StorageContext

from sigdca.errors import StorageError
from sigdca.storage import Store

CHECKPOINT = "checkpoint_"  # and the time: in the order of their names, the last is the last
# What Ray raises for a record that it cannot take, as it comes upon it.
_SPOILT = (
    AssertionError,
    CheckpointManagerInitializationError,
    LookupError,
    TypeError,
    ValueError,
)


def mend_record(checkpoints: Store, key: str) -> str | None:
    """Makes the record anew from the checkpoints that are there, if Ray cannot take it as it is.

    Args:
        checkpoints: where those of all stages lie.
        key: the stage's folder.

    Returns:
        What was done; None if there was nothing to do.

    Raises:
        StorageError: the folder cannot be read or written.
    """
    folder = checkpoints.child(key)
    if not folder.exists(FILE_NAME) or _can_be_taken(checkpoints, key):
        return None
    names = [name for name in folder.folders() if name.startswith(CHECKPOINT)]
    folder.write(FILE_NAME, _record(names).encode())
    return (
        f"Ray Train's record of checkpoints was spoilt; made anew, with the {len(names)} that "
        "are there"
    )


def _can_be_taken(checkpoints: Store, key: str) -> bool:
    where = StorageContext(checkpoints.root, key, checkpoints.filesystem, read_only=True)
    try:
        CheckpointManager(ray.train.CheckpointConfig(), where)
    except _SPOILT:
        return False
    except OSError as error:
        raise StorageError(f"{checkpoints.path(key)}: cannot be read: {error}") from error
    return True


def _record(names: list[str]) -> str:
    """What Ray writes after it has heard of these checkpoints."""
    kept = [{"checkpoint_dir_name": name, "metrics": {}} for name in names]
    state = {
        "ray_version": ray.__version__,
        "checkpoint_results": kept,
        "checkpoint_report_indices": list(range(len(kept))),
        "latest_checkpoint_result": kept[-1] if kept else None,
        "pending_training_results": [],
        "pending_validation_specs": [],
        "current_report_index": len(kept),
        "validated_checkpoint_dir_names": [],
        "timed_out_validation_checkpoint_dir_names": [],
        "failed_validation_checkpoint_dir_names": [],
    }
    return json.dumps(state)
