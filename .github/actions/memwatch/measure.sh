#!/usr/bin/env bash
# Runs the command as a step's `run` does, under memwatch. Its exit code is the script's.
set -euo pipefail

read -r -d '' -a args <<< "$RUN_ARGS" || true  # false at the end of the text
code=0
memwatch run --interval "$INTERVAL" --output "$RECORDING" --force "${args[@]}" \
    -- bash --noprofile --norc -eo pipefail -c "$COMMAND" || code=$?
echo "exit-code=$code" >> "$GITHUB_OUTPUT"
exit "$code"
