#!/bin/sh
# build.sh SUITE SOURCES PACKAGE,PACKAGE... TARBALL: packs a lab host's tree of files from the distribution's packages.
set -eu
suite=$1 sources=$2 packages=$3 tarball=$4
mmdebstrap --quiet --variant=minbase --skip=check/empty --format=tar \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$packages" \
    --customize-hook="'$(dirname "$(readlink -f "$0")")/customize.sh' \"\$1\"" \
    "$suite" "$tarball.part" "$sources"
mv "$tarball.part" "$tarball"
