#!/usr/bin/env bash
# The original's own commands, letter for letter but for `-s` against the meter; the time, the seeds, which are drawn anew each
# time, and the pictures' bytes are left out of what is shown.
set -euo pipefail
shown() { sed -E 's/"(base64_encoded_image|created_at_unix_timestamp|seed)":("[^"]*"|[0-9]+)/"\1":…/g'; echo; }

curl -s -X POST http://localhost:8000/v1/prompts/enhance \
    -H "Content-Type: application/json" \
    -d '{"prompt": "A cat sitting on a windowsill"}' | shown

curl -s -X POST http://localhost:8000/v1/images/generations \
    -H "Content-Type: application/json" \
    -d '{"prompt": "A sunset over a mountain range with vivid colours", "use_enhancer": false, "n": 1, "size": "512x512"}' | shown

curl -s -X POST http://localhost:8000/v1/images/generations \
    -H "Content-Type: application/json" \
    -d '{"prompt": "A dog playing in a park", "use_enhancer": true, "n": 2, "size": "512x512"}' | shown
