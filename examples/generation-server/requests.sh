#!/usr/bin/env bash
# The original's own commands, letter for letter but for `-s` against the meter, with the session's id in place of the example's;
# ids, which are random, are left out of what is shown.
set -euo pipefail
cd "$(dirname "$0")"
shown() { sed -E 's/[0-9a-f]{8}-[0-9a-f-]{27}/…/g; s/[0-9]{8}_[0-9]{6}_/…_/g'; }
id_of() { sed -E 's/.*"session_id":"([^"]*)".*/\1/'; }
ended() { until curl -s "http://localhost:8000/api/$1/status" | grep -E '"status":"(completed|failed)"' >/dev/null; do sleep 0.2; done; }

answer=$(curl -s -X POST "http://localhost:8000/api/flux/t2i" \
  -H "Content-Type: application/json" \
  -d '{
    "prompt": "A serene lake with mountains at sunset",
    "width": 1024,
    "height": 768,
    "guidance_scale": 7.5,
    "num_inference_steps": 50
  }')
echo "$answer" | shown
id=$(echo "$answer" | id_of)
ended "$id"
curl -s "http://localhost:8000/api/$id/status" | shown
echo

answer=$(curl -s -X POST "http://localhost:8000/api/flux/i2i" \
  -F "image=@input.jpg" \
  -F "prompt=Transform into a watercolor painting" \
  -F "strength=0.8" \
  -F "guidance_scale=7.5")
echo "$answer" | shown
id=$(echo "$answer" | id_of)
ended "$id"
curl -s "http://localhost:8000/api/$id/status" | shown
echo
