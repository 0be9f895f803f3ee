# What Ray's cluster launcher sources on each node before `ray start` (as secrets/env.sh).
export PATH=$HOME/sigdca-cluster/venv/bin:$PATH
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/sigdca-cluster/secrets/token
export RAY_USAGE_STATS_ENABLED=0
export RAY_health_check_initial_delay_ms=1000 RAY_health_check_period_ms=1000
export RAY_health_check_timeout_ms=1000 RAY_health_check_failure_threshold=3
# With certificates by addresses (cluster/tls.sh) in secrets/tls/, of all nodes or of none: TLS between them.
for address in $(hostname -I); do
  if [ -r "$HOME/sigdca-cluster/secrets/tls/$address.crt" ]; then
    export RAY_USE_TLS=1 RAY_TLS_CA_CERT=$HOME/sigdca-cluster/secrets/tls/ca.crt
    export RAY_TLS_SERVER_CERT=$HOME/sigdca-cluster/secrets/tls/$address.crt
    export RAY_TLS_SERVER_KEY=$HOME/sigdca-cluster/secrets/tls/$address.key
  fi
done
