#!/usr/bin/env bash
# The recipe of the model that understands commands: tokenizer, training, export, the test.
#   WORK=work MINUTES=30 OUT=atelier-nano-word ./word.sh
# Begins with nothing. Every stage is skipped where its result is already there, and the training goes on from its last
# saved state. With the program `atelier` at hand, part of the test is answered by it, out of the exported file.
set -euo pipefail
cd "$(dirname "$0")"
WORK=${WORK:-work}; OUT=${OUT:-$WORK/atelier-nano-word}; MINUTES=${MINUTES:-30}; PYTHON=${PYTHON:-python3}
COUNT=${COUNT:-30000}; ATELIER=${ATELIER:-$(command -v atelier || true)}
WORD="$WORK/word"
mkdir -p "$WORD"

[ -f "$WORD/tokenizer.json" ] || "$PYTHON" -m word.wording --out "$WORD/tokenizer.json" --count $((COUNT * 2))
"$PYTHON" -m word.train --work "$WORD" --seconds $((MINUTES * 60)) --test $((COUNT / 30)) --watch $((COUNT / 750)) | tee -a "$WORD/train.log"
"$PYTHON" -m word.export --work "$WORD" --out "$OUT"
"$PYTHON" -m word.evaluate --work "$WORD" --out "$WORD/results.json" --count $((COUNT / 30))
if [ -n "$ATELIER" ]; then
    "$PYTHON" -m word.evaluate --work "$WORD" --model "$OUT" --atelier "$ATELIER" --out "$WORD/results-atelier.json" --count $((COUNT / 300))
fi
"$PYTHON" -m word.reference --model "$OUT" --out "$WORD/golden.json" --count $((COUNT / 1500))
tail -n 40 "$WORD/train.log" > "$WORD/log-tail.txt"
