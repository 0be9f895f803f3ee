#!/bin/sh
# Builds the native library for a target, by the toolchain file of that name.
#
#   native-target.sh TARGET                   dist/sigdca-native-<version>-<target>.tar.gz
#   native-target.sh TARGET dca-run OUT       the program alone, as OUT
#
# The same sources and compiler give the same bytes. What has been built is kept below build/.
set -eu
cd "$(dirname "$0")/.."
target=$1
source=sigdca/native
build=build/native/$target
PATH=$PATH:$PWD/.venv/bin  # for cmake and ninja, where the system has none
mkdir -p "$build" dist
exec 9>"$build/lock"
flock 9

cmake -S $source -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_TOOLCHAIN_FILE="$PWD/$source/toolchains/$target.cmake" \
  ${CI:+-DSIGDCA_WERROR=ON} \
  >"$build/log" || { cat "$build/log" >&2; exit 3; }

run_build() {
  cmake --build "$build" "$@" >"$build/log" || { cat "$build/log" >&2; exit 3; }
}

if [ "${2-}" = dca-run ]; then
  run_build --target dca-run
  mkdir -p "$(dirname "$3")"
  cp "$build/dca-run" "$3.part"
  mv "$3.part" "$3"
  exit
fi

run_build
version=$(sed -n 's/^CMAKE_PROJECT_VERSION:[A-Z]*=//p' "$build/CMakeCache.txt")
name=sigdca-native-$version-$target
rm -rf "$build/package"
cmake --install "$build" --prefix "$PWD/$build/package/$name" >/dev/null
mv "$build/package/$name/share/sigdca/examples" "$build/package/$name/examples"
rm -r "$build/package/$name/share"
cp LICENSE "$build/package/$name/"
sed "s/@VERSION@/$version/; s/@TARGET@/$target/" $source/toolchains/README.md.in \
  >"$build/package/$name/README.md"
chmod -R u=rwX,go=rX "$build/package/$name"
tar -C "$build/package" --sort=name --mtime="@${SOURCE_DATE_EPOCH:-1577836800}" --owner=0 \
  --group=0 --numeric-owner --format=gnu -cf - "$name" | gzip -9n >"dist/$name.tar.gz.part"
mv "dist/$name.tar.gz.part" "dist/$name.tar.gz"
echo "dist/$name.tar.gz"
