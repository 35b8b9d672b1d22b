#!/usr/bin/env bash
# 8 clients, 20 swaps, one truncated file: no request may fail.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'touch "$work/stop"; wait; rm -rf "$work"' EXIT
guests=../any-component/target

client() {
    while [ ! -e "$work/stop" ]; do
        curl -fs --max-time 5 http://127.0.0.1:8000/ || echo failed
    done >"$work/client-$1"
}
replace() { cp "$guests/hello-$1.wasm" target/next.wasm && mv target/next.wasm target/live.wasm; }
answers() { for _ in $(seq 100); do [ "$(curl -fs http://127.0.0.1:8000/)" = "$1" ] && return; sleep 0.05; done; return 1; }

for n in 1 2 3 4 5 6 7 8; do client "$n" & done
for _ in $(seq 10); do
    for version in 0.3 0.2; do
        replace "$version"
        answers "hello from wasi:http $version" || { echo "version $version never answered"; exit 1; }
    done
done
replace 0.3
answers "hello from wasi:http 0.3"
head -c 20000 "$guests/hello-0.2.wasm" >target/live.wasm
sleep 1
still=$(curl -fs http://127.0.0.1:8000/)
touch "$work/stop"
wait

count() { cat "$work"/client-* | grep -c "$1" || true; }
failed=$(count failed)
echo "requests answered by 0.2: $(count 'http 0.2'), by 0.3: $(count 'http 0.3'), failed: $failed"
echo "after a truncated file: still $still"
reason=$(curl -fs http://127.0.0.1:8001/status | grep -o '"error":"[^"]*"' | head -n 1 || true)
echo "admin status: $reason"
[ "$failed" = 0 ] && [ "$still" = "hello from wasi:http 0.3" ] && [ -n "$reason" ]
