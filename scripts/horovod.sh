#!/bin/sh
# Installs Horovod where the given Python is; builds its wheel if the cache has none.
#
#   horovod.sh PYTHON
#
# No wheel of it is published, and its source package asks for C++14 where torch's headers need
# C++17. HOROVOD_GPU_OPERATIONS=NCCL and the other variables of its build are passed on to it.
# What has been built is kept in $SIGDCA_CACHE/wheels, else $XDG_CACHE_HOME/sigdca/wheels, else
# ~/.cache/sigdca/wheels, for each version of torch and Python.
set -eu
cd "$(dirname "$0")/.."
python=$1
version=0.28.1
sha256=92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0

fail() {
  echo "horovod: $*" >&2
  exit 1
}

installed() {
  "$python" -c 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))' "$1" 2>/dev/null
}

torch=$(installed torch) || fail "torch is not installed here: run make setup"
tag=$("$python" -c 'import sys, sysconfig
print(sys.implementation.cache_tag + "-" + sysconfig.get_platform())')
key=horovod-$version-torch-$torch-$tag${HOROVOD_GPU_OPERATIONS:+-$HOROVOD_GPU_OPERATIONS}
stamp=$("$python" -c 'import sys; print(sys.prefix)')/.horovod

[ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && installed horovod >/dev/null && exit

cache=${SIGDCA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sigdca}/wheels
mkdir -p "$cache/$key" 2>/dev/null || fail "$cache: cannot be written; set SIGDCA_CACHE"

build() {
  PATH=$(dirname "$python"):$PATH  # for cmake, where the system has none
  command -v c++ >/dev/null || fail "no C++ compiler to build it: install g++"
  command -v cmake >/dev/null || fail "no cmake to build it: run make setup, or install cmake"
  # Not in the cache: its CMake files take the folder's name for a pattern, and '+' fails.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  log=$cache/$key/build.log
  source=$work/horovod-$version
  echo "== set-up: the source package of Horovod $version"
  echo "horovod==$version --hash=sha256:$sha256" >"$work/requirements.txt"
  # Its setup.py would fetch these by itself, in any version.
  { "$python" -m pip install --constraint constraints.txt cffi cloudpickle packaging psutil pyyaml \
      && "$python" -m pip download --require-hashes --no-binary :all: --no-deps \
           --no-build-isolation --dest "$work" --requirement "$work/requirements.txt" \
      && tar -xzf "$source.tar.gz" -C "$work"; } >"$log" 2>&1 \
    || fail "its source package cannot be had; $log says why"
  echo "== set-up: Horovod's wheel for torch $torch (two to four minutes, once)"
  sed -i 's/set(CMAKE_CXX_STANDARD 14)/set(CMAKE_CXX_STANDARD 17)/' \
    "$source/CMakeLists.txt" "$source/horovod/torch/CMakeLists.txt"
  sed -i "s/'RelWithDebInfo'/'Release'/" "$source/setup.py"  # a third of the bytes
  # Parts of it ask for a CMake older than version 4 knows. Its own -j8 takes gigabytes.
  (
    cd "$source"
    export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1
    export HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
    export CMAKE_POLICY_VERSION_MINIMUM=3.5 MAKEFLAGS="-j$(nproc)"
    "$python" -m pip wheel --verbose --no-cache-dir --no-build-isolation --no-deps \
      --wheel-dir "$work" .
  ) >>"$log" 2>&1 || fail "its build failed; $log says why"
  wheel=$(cd "$work" && echo *.whl)
  "$python" -m zipfile --list "$work/$wheel" | grep '^horovod/torch/mpi_lib' >/dev/null \
    || fail "its build left out the library for torch; $log says why"
  cp "$work/$wheel" "$cache/$key/part.$$"
  mv "$cache/$key/part.$$" "$cache/$key/$wheel"
}

python=$(command -v "$python")
case $python in /*) ;; *) python=$PWD/$python ;; esac
set -- "$cache/$key"/*.whl
if [ ! -f "$1" ]; then
  build
  set -- "$cache/$key"/*.whl
fi
"$python" -m pip install --quiet --force-reinstall --no-deps "$1" \
  && "$python" -m pip install --quiet --constraint constraints.txt "$1" \
  || fail "$1: cannot be installed"
"$python" -c 'from horovod.torch import init' || fail "$1: cannot be imported; delete it to build it again"
echo "$key" >"$stamp"
echo "== Horovod $version is installed"
