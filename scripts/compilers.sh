#!/bin/sh
# Installs what is missing of: native (a C++ compiler for this machine), aarch64 (one that builds
# for boards), fuzzer (clang with its sanitizers and libFuzzer).
set -eu
here=$(dirname "$0")

has_fuzzer() {
  printf 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' \
    | clang++ -x c++ -fsanitize=fuzzer,address - -o /dev/null 2>/dev/null
}

for what in "$@"; do
  case $what in
    native)
      command -v c++ >/dev/null || "$here/apt-install.sh" g++ ;;
    aarch64)
      [ "$(uname -m)" = aarch64 ] || command -v aarch64-linux-gnu-g++ >/dev/null || {
        echo "== set-up: a compiler for aarch64 boards"
        "$here/apt-install.sh" g++-aarch64-linux-gnu
      } ;;
    fuzzer)
      has_fuzzer || {
        echo "== set-up: clang, which finds what must never happen in the native library"
        command -v clang++ >/dev/null || "$here/apt-install.sh" clang
        # Where the libraries are a package of their own, clang alone does not bring them.
        has_fuzzer || "$here/apt-install.sh" \
          "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
      } ;;
    *)
      echo "compilers.sh: '$what': must be native, aarch64 or fuzzer" >&2
      exit 2 ;;
  esac
done
