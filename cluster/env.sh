# What Ray's cluster launcher sources on each node before `ray start` (as secrets/env.sh).
export PATH=$HOME/sigdca-cluster/venv/bin:$PATH
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/sigdca-cluster/secrets/token
export RAY_USAGE_STATS_ENABLED=0
export RAY_health_check_initial_delay_ms=1000 RAY_health_check_period_ms=1000
export RAY_health_check_timeout_ms=1000 RAY_health_check_failure_threshold=3
