#!/bin/sh
# Installs what is missing of: native (a C++ compiler for this machine), one for a kind of board
# (aarch64 or x86-64, also by a target's name, such as aarch64-a57), fuzzer (clang with its sanitizers
# and libFuzzer).
set -eu
here=$(dirname "$0")

# A kind of machine, and its name in Debian's packages.
cross() {
  [ "$(uname -m)" = "$1" ] || command -v "$1-linux-gnu-g++" >/dev/null || {
    echo "== set-up: a compiler for $2 boards"
    "$here/apt-install.sh" "g++-$2-linux-gnu"
  }
}

has_fuzzer() {
  printf 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' \
    | clang++ -x c++ -fsanitize=fuzzer,address - -o /dev/null 2>/dev/null
}

for what in "$@"; do
  case $what in
    native)
      command -v c++ >/dev/null || "$here/apt-install.sh" g++ ;;
    aarch64*)
      cross aarch64 aarch64 ;;
    x86-64*)
      cross x86_64 x86-64 ;;
    fuzzer)
      has_fuzzer || {
        echo "== set-up: clang, which finds what must never happen in the native library"
        command -v clang++ >/dev/null || "$here/apt-install.sh" clang
        # Where the libraries are a package of their own, clang alone does not bring them.
        has_fuzzer || "$here/apt-install.sh" \
          "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
      } ;;
    *)
      echo "compilers.sh: '$what': must be native, aarch64, x86-64 or fuzzer" >&2
      exit 2 ;;
  esac
done
