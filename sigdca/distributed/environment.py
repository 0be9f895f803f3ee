"""What Ray must find in the environment before it is imported."""

from __future__ import annotations

import os
import secrets
import sys


def prepare_environment(address: str | None) -> str | None:
    """Sets Ray's variables where the user has not.

    Args:
        address: the cluster that the user named, or None.

    Returns:
        The cluster to join; None if one is to be started here.
    """
    prepare_client()
    # Ray Train polls its workers this often; its default of 2 s would be most of a short epoch.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    # It counts on a node that will be taken away, or was just lost, until Ray knows better, and
    # waits so long for workers there before it counts again. Its default is 60 s.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
    # A user's own model is imported from the folder that the job was started in.
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        be_quick_to_join()
    if address is None:
        # A cluster started here has no dashboard. Ray Train would look for its state server at the
        # end of each stage, for 12 s; at an address that nothing answers it learns so at once.
        os.environ.setdefault("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
        # Nobody takes its only node away, and to start who looks out for that takes seconds.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        # The workers of a TEST serve the next one too, if it comes soon; Ray's default is 1 s.
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
    if address is None and "ray" not in sys.modules:
        # A cluster started here has its own token, known to its own processes alone.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    return address


def prepare_client() -> None:
    """What a process needs that asks a cluster elsewhere: a token that is named is sent."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def be_quick_to_join() -> None:
    """Lets Ray try a head that answers, but refuses us, for 3 s rather than 20."""
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")
