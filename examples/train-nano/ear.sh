#!/usr/bin/env bash
# The ear's recipe: tokenizer, utterances by espeak-ng, training, export, the test through `atelier transcribe`.
#   WORK=work MINUTES=60 OUT=atelier-nano-ear ./ear.sh
# Wants espeak-ng (apt-get install espeak-ng) and the program `atelier`. Every stage is skipped where its result is already
# there, and the training goes on from its last saved state.
set -euo pipefail
cd "$(dirname "$0")"
WORK=${WORK:-work}; OUT=${OUT:-$WORK/atelier-nano-ear}; MINUTES=${MINUTES:-60}; PYTHON=${PYTHON:-python3}
JOBS=${JOBS:-$(nproc)}; COUNT=${COUNT:-20000}; ATELIER=${ATELIER:-atelier}
export KMP_BLOCKTIME=${KMP_BLOCKTIME:-0} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
EAR="$WORK/ear"
mkdir -p "$EAR"

[ -d "$EAR/tokenizer" ] || "$PYTHON" -m ear.tokenizer --out "$EAR/tokenizer"
for split in validation test; do
    OMP_NUM_THREADS=1 "$PYTHON" -m ear.bank --out "$EAR/$split" --split $split --count $((COUNT / 40)) --jobs "$JOBS"
done
OMP_NUM_THREADS=1 "$PYTHON" -m ear.bank --out "$EAR/bank" --count "$COUNT" --jobs "$JOBS"
"$PYTHON" -m ear.train --work "$EAR" --seconds $((MINUTES * 60)) --watch 64 | tee -a "$EAR/train.log"
"$PYTHON" -m ear.export --work "$EAR" --out "$OUT"
"$PYTHON" -m ear.evaluate --model "$OUT" --bank "$EAR/test" --out "$EAR/results.json" --count $((COUNT / 50)) --atelier "$ATELIER"
tail -n 40 "$EAR/train.log" > "$EAR/log-tail.txt"
