#!/usr/bin/env bash
# Builds two components, makes a key that signs and an operators' key, signs, and puts the key's public half and the
# other's hash into the manifest, all in target/.
set -euo pipefail
cd "$(dirname "$0")"
../any-component/build.sh
mkdir -p target
umask 077
cp ../any-component/target/hello-0.2.wasm target/handler.wasm
cp ../any-component/target/hello-0.3.wasm target/next.wasm
rm -f target/release.pem
line=$(atelier component key new --name release --out target/release.pem | sed -n 's/^ *manifest *//p')
atelier admin key new --json >target/admin.json
field() { sed -n "s/^ *\"$1\": \"\([^\"]*\)\",*$/\1/p" target/admin.json; }
field key >target/admin.key
sed -e "s|KEY_LINE|$line|" -e "s|ADMIN_HASH|$(field hash)|" atelier.toml >target/atelier.toml
rm target/admin.json
atelier component sign target/handler.wasm --key target/release.pem
atelier component sign target/next.wasm --key target/release.pem
