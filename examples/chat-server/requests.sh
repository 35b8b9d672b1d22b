#!/usr/bin/env bash
# The original's own commands, letter for letter but for the recording's path, `-s` against the meter, and the seed's random
# number and the picture's bytes, which are left out of what is shown.
set -euo pipefail
cd "$(dirname "$0")"
shown() { sed -E 's/"(image|seed|elapsed_ms|eta_ms|position)":("[^"]*"|[0-9]+|null)/"\1":…/g'; }

curl -s -X POST \
  -F "file=@recordings/audio.webm" \
  -F "language=english" \
  http://127.0.0.1:8000/audio/decode
echo

curl -s -X POST \
  -F "prompt=A futuristic cityscape at sunset" \
  http://127.0.0.1:8000/image/generate | shown | grep -v -e '^event: queued' -e '"type":"queued"' | cat -s

curl -s -X GET http://127.0.0.1:8000/image/models
echo
