#!/usr/bin/env bash
# Makes three keys, keeps them in target/ for the commands of the README, and puts their hashes into the manifest.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p target
umask 077
cp atelier.toml target/atelier.toml
field() { sed -n "s/^ *\"$1\": \"\([^\"]*\)\",*$/\1/p" "$2"; }
for who in studio guest; do
    atelier tenant key new "$who" --json >"target/$who.json"
done
atelier admin key new --json >target/admin.json
for who in studio guest admin; do
    field key "target/$who.json" >"target/$who.key"
    sed -i "s/${who^^}_HASH/$(field hash "target/$who.json")/" target/atelier.toml
done
rm target/*.json
