#!/bin/sh
# Certificates by which the nodes of a cluster know each other.
#
#   tls.sh ca DIR                       DIR/ca.crt, DIR/ca.key (keep it off the nodes), for ten years
#   tls.sh node DIR ADDRESS [DAYS]      DIR/ADDRESS.crt and .key, signed by DIR/ca.key, for a year
#
# ADDRESS is the node's IP address in the cluster, its --node-ip-address. Ray checks both sides.
set -eu
umask 077
usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
dir=$2
mkdir -p "$dir"
curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
case $1 in
  ca)
    [ ! -e "$dir/ca.key" ] || { echo "$dir/ca.key: is there already" >&2; exit 2; }
    openssl req -x509 $curve -keyout "$dir/ca.key" -out "$dir/ca.crt" -days 3650 \
      -subj "/CN=sigdca cluster" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
    ;;
  node)
    [ $# -ge 3 ] || usage
    [ -e "$dir/ca.key" ] || { echo "$dir/ca.key: is missing; run: tls.sh ca $dir" >&2; exit 2; }
    names=$(mktemp)
    trap 'rm -f "$names"' EXIT
    # Workers and drivers reach their own node by 127.0.0.1.
    echo "subjectAltName=IP:$3,IP:127.0.0.1,DNS:localhost" >"$names"
    openssl req $curve -keyout "$dir/$3.key" -subj "/CN=$3" 2>/dev/null |
      openssl x509 -req -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial \
        -days "${4:-365}" -extfile "$names" -out "$dir/$3.crt" 2>/dev/null
    ;;
  *) usage ;;
esac
