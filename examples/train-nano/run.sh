#!/usr/bin/env bash
# The whole recipe: rendering, codec, text encoder, denoiser, checker, export, evaluation, picture grid.
#   WORK=work MINUTES=120 OUT=atelier-nano ./run.sh
# Works on processors alone or with one GPU. Every stage is skipped where its result is already there,
# and the denoiser goes on from its last saved state.
set -euo pipefail
cd "$(dirname "$0")"
WORK=${WORK:-work}; OUT=${OUT:-$WORK/atelier-nano}; MINUTES=${MINUTES:-120}; PYTHON=${PYTHON:-python3}
JOBS=${JOBS:-$(nproc)}; COUNT=${COUNT:-30000}
export KMP_BLOCKTIME=${KMP_BLOCKTIME:-0} OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
share() { echo $((MINUTES * 60 * $1 / 100)); }   # a percentage of the budget, in seconds
mkdir -p "$WORK"

OMP_NUM_THREADS=1 "$PYTHON" bank.py --out "$WORK/bank" --count "$COUNT" --jobs "$JOBS"
OMP_NUM_THREADS=1 "$PYTHON" bank.py --out "$WORK/bank-all" --count $((COUNT / 4)) --jobs "$JOBS" --seed 5 --everything
[ -d "$WORK/tokenizer" ] || "$PYTHON" tokenizer.py --out "$WORK/tokenizer"
[ -d "$WORK/vae" ] || "$PYTHON" train_vae.py --bank "$WORK/bank" --out "$WORK/vae" --seconds "$(share 20)"
"$PYTHON" encode_bank.py --bank "$WORK/bank" --vae "$WORK/vae" --out "$WORK/latents"
[ -f "$WORK/text.pt" ] || "$PYTHON" pretrain_text.py --tokenizer "$WORK/tokenizer" --out "$WORK/text.pt" --seconds "$(share 5)"
"$PYTHON" train_text_to_image.py --work "$WORK" --seconds "$(share 63)" | tee -a "$WORK/train.log"
[ -f "$WORK/checker.pt" ] || "$PYTHON" checker.py --bank "$WORK/bank" --extra "$WORK/bank-all" --vae "$WORK/vae" \
    --out "$WORK/checker.pt" --seconds "$(share 7)"
"$PYTHON" export.py --work "$WORK" --out "$OUT"
"$PYTHON" evaluate.py --model "$OUT" --checker "$WORK/checker.pt" --out "$WORK/results.json"
"$PYTHON" grid.py --model "$OUT" --out "$WORK/grid.png"
tail -n 40 "$WORK/train.log" > "$WORK/log-tail.txt"
