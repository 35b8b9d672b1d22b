#!/usr/bin/env bash
# Builds both components with stock cargo and puts them into target/.
set -euo pipefail
cd "$(dirname "$0")"
for version in 0.2 0.3; do
    (cd "hello-$version" && CARGO_TARGET_DIR=../target cargo build --release --quiet --target wasm32-wasip2)
    cp "target/wasm32-wasip2/release/hello_${version/./}.wasm" "target/hello-$version.wasm"
done
