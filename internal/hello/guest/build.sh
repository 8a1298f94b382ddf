#!/bin/sh
# Builds the hello guest: build.sh [DIR] writes DIR/hello.elf (default: next to the source, with SHA256SUMS).
# Needs as and ld (package binutils). The same source gives the same bytes.
set -eu
export LC_ALL=C
cd "$(dirname "$0")"
out=${1:-.}
object=$(mktemp)
trap 'rm -f "$object"' EXIT
as --64 --fatal-warnings -o "$object" hello.s
ld -m elf_x86_64 --build-id=none --oformat binary -T hello.ld -o "$out/hello.elf" "$object"
chmod 644 "$out/hello.elf"
if [ "$out" = . ]; then
	sha256sum build.sh hello.ld ./*.s hello.elf | sed 's| \./| |' >SHA256SUMS
fi
