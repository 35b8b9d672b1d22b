#!/usr/bin/env bash
# Builds two components, makes the operators' key and writes the manifest with its hash.
set -euo pipefail
cd "$(dirname "$0")"
../any-component/build.sh
mkdir -p target
umask 077
cp ../any-component/target/hello-0.2.wasm ../any-component/target/hello-0.3.wasm target/
atelier admin key new --json >target/admin.json
field() { sed -n "s/^ *\"$1\": \"\([^\"]*\)\",*$/\1/p" target/admin.json; }
field key >target/admin.key
sed "s/ADMIN_HASH/$(field hash)/" atelier.toml >target/atelier.toml
rm target/admin.json
