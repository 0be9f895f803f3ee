"""What Ray finds in its environment."""

import os

import pytest

from sigdca.distributed.environment import prepare_client, prepare_environment

RETRIES = "RAY_NUM_REDIS_GET_RETRIES"
STATE_SERVER = "RAY_API_SERVER_ADDRESS"
WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
KEPT = "RAY_idle_worker_killing_time_threshold_ms"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """This process's own environment, as it was."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    kept = dict(os.environ)
    yield
    for name in set(os.environ) - set(kept):
        del os.environ[name]


def test_a_cluster_started_here_has_no_state_server_to_wait_for():
    assert prepare_environment(None) is None
    assert os.environ[STATE_SERVER] == "http://127.0.0.1:9"


def test_only_on_a_cluster_of_others_may_a_node_be_taken_away():
    prepare_environment("host:6379")
    assert WATCHER not in os.environ
    assert KEPT not in os.environ
    prepare_environment(None)
    assert os.environ[WATCHER] == "0"
    assert int(os.environ[KEPT]) >= 10_000


def test_a_cluster_that_is_joined_keeps_its_own(monkeypatch):
    assert prepare_environment("host:6379") == "host:6379"
    monkeypatch.setenv("RAY_ADDRESS", "other:6379")
    assert prepare_environment(None) == "other:6379"
    assert STATE_SERVER not in os.environ
    assert os.environ[RETRIES] == "3"


def test_a_cluster_started_here_is_waited_for():
    prepare_environment(None)
    assert RETRIES not in os.environ


def test_a_token_that_is_named_is_sent(monkeypatch):
    prepare_client()
    assert "RAY_AUTH_MODE" not in os.environ
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/etc/sigdca/token")
    prepare_client()
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_what_the_user_says_stands(monkeypatch):
    monkeypatch.setenv(STATE_SERVER, "http://mine:8265")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    prepare_environment(None)
    assert os.environ[STATE_SERVER] == "http://mine:8265"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
