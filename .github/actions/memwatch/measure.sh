#!/usr/bin/env bash
# Runs the command like a step's `run`, under memwatch, and exits with its exit code.
set -euo pipefail

read -r -d '' -a args <<< "$RUN_ARGS" || true  # read returns false at the end of the text
code=0
memwatch run --interval "$INTERVAL" --output "$RECORDING" --force "${args[@]}" \
    -- bash --noprofile --norc -eo pipefail -c "$COMMAND" || code=$?
echo "exit-code=$code" >> "$GITHUB_OUTPUT"
exit "$code"
