#!/usr/bin/env bash
# Builds a component, makes a key, signs, and puts the key's public half into the manifest, all in target/.
set -euo pipefail
cd "$(dirname "$0")"
../any-component/build.sh
mkdir -p target
cp ../any-component/target/hello-0.2.wasm target/handler.wasm
rm -f target/release.pem
line=$(atelier component key new --name release --out target/release.pem | sed -n 's/^ *manifest *//p')
sed "s|KEY_LINE|$line|" atelier.toml >target/atelier.toml
atelier component sign target/handler.wasm --key target/release.pem
