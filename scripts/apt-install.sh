#!/bin/sh
# Installs Debian or Ubuntu packages, as root or through a sudo that asks nothing. Says what to do
# where neither is to be had.
set -eu
if ! command -v apt-get >/dev/null; then
  echo "please install: $*" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=sudo
else
  echo "please run: sudo apt-get install $*" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
