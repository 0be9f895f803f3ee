"""An image folder -> Parquet shards by Ray Data: a shard is one task, on any server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray.data
import ray.exceptions

from sigdca.data.folder import Image, ImageFolder
from sigdca.data.importing import Plan, ShardResult, ShardTask, write_shard
from sigdca.distributed.cluster import SERVERS, quieten_ray_data
from sigdca.distributed.faults import root_cause
from sigdca.errors import JobError, SigdcaError


def import_on_cluster(plan: Plan, on_shard: Callable[[ShardResult], None]) -> list[ShardResult]:
    """Writes all shards of an import; those that an earlier attempt has finished are kept.

    Args:
        plan: the import, whose destination `sigdca.data.importing.begin` has taken.
        on_shard: called with each result as it comes.

    Raises:
        JobError: an image is damaged, and the plan does not leave such out.
        SigdcaError: a file could not be read or written. The same import goes on from here.
    """
    quieten_ray_data()
    tasks = plan.tasks()
    rows = ray.data.from_items([_row(task) for task in tasks], override_num_blocks=len(tasks))
    # Workers need not have the list of all images.
    bare = replace(plan, folder=ImageFolder(plan.folder.classes, {}))
    done = rows.map(_Worker(bare), num_cpus=1, label_selector=SERVERS)
    results = []
    try:
        for row in done.iter_rows():
            result = ShardResult(**(row | {"damaged": tuple(row["damaged"])}))
            if result.damaged and not plan.skip_damaged:
                raise JobError(f"{result.damaged[0]}; --skip-damaged leaves such images out")
            results.append(result)
            on_shard(result)
    except (ray.exceptions.RayError, OSError) as error:
        raise SigdcaError(f"import: {root_cause(error)}") from error
    return results


def _row(task: ShardTask) -> dict[str, Any]:
    return {
        "name": task.name,
        "paths": [image.path for image in task.images],
        "labels": [image.label for image in task.images],
        "sizes": [image.size for image in task.images],
    }


@dataclass(frozen=True)
class _Worker:
    """Does the work of one row, wherever Ray runs it."""

    plan: Plan

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        images = zip(row["paths"], row["labels"], row["sizes"], strict=True)
        found = tuple(Image(str(path), int(label), int(size)) for path, label, size in images)
        result = write_shard(self.plan, ShardTask(str(row["name"]), found))
        return asdict(result) | {"damaged": list(result.damaged)}
