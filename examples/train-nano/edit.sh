#!/usr/bin/env bash
# The editor's recipe: families of pictures, their latents, text encoder, judge, denoiser, export, evaluation, sheet.
#   WORK=work MINUTES=120 SISTER=work/atelier-nano OUT=atelier-nano-edit ./edit.sh
# Begins with the model that paints, SISTER. Every stage is skipped where its result is already there,
# and the denoiser goes on from its last saved state.
set -euo pipefail
cd "$(dirname "$0")"
WORK=${WORK:-work}; SISTER=${SISTER:-$WORK/atelier-nano}; OUT=${OUT:-$WORK/atelier-nano-edit}
MINUTES=${MINUTES:-120}; PYTHON=${PYTHON:-python3}; JOBS=${JOBS:-$(nproc)}; COUNT=${COUNT:-30000}
export KMP_BLOCKTIME=${KMP_BLOCKTIME:-0} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
share() { echo $((MINUTES * 60 * $1 / 100)); }   # a percentage of the budget, in seconds
EDIT="$WORK/edit"
mkdir -p "$EDIT"

# six pictures a family
OMP_NUM_THREADS=1 "$PYTHON" -m edit.bank --out "$EDIT/bank" --count $((COUNT * 2 / 5)) --jobs "$JOBS"
"$PYTHON" encode_bank.py --bank "$EDIT/bank" --vae "$SISTER/vae" --out "$EDIT/latents"
[ -f "$EDIT/text.pt" ] || "$PYTHON" -m edit.lesson --sister "$SISTER" --out "$EDIT/text.pt" --seconds "$(share 4)"
[ -f "$EDIT/judge.pt" ] || "$PYTHON" -m edit.judge --sister "$SISTER" --work "$EDIT" --seconds "$(share 4)" --families $((COUNT / 150))
"$PYTHON" -m edit.train --sister "$SISTER" --work "$EDIT" --seconds "$(share 92)" --watch $((COUNT / 400)) | tee -a "$EDIT/train.log"
"$PYTHON" -m edit.export --sister "$SISTER" --work "$EDIT" --out "$OUT"
"$PYTHON" -m edit.evaluate --model "$OUT" --judge "$EDIT/judge.pt" --out "$EDIT/results.json" --count $((COUNT / 125))
"$PYTHON" -m edit.sheet --model "$OUT" --sister "$SISTER" --out "$EDIT/sheet.png"
tail -n 40 "$EDIT/train.log" > "$EDIT/log-tail.txt"
