#!/usr/bin/env bash
# Judges the recording. memwatch itself writes the annotations, the job summary and the outputs.
set -euo pipefail

options=()
add() {
    if [ -n "$2" ]; then options+=("$1" "$2"); fi
}
add --max-total-rss "$MAX_TOTAL_RSS"
add --max-per-proc-rss "$MAX_PER_PROC_RSS"
add --max-total-pss "$MAX_TOTAL_PSS"
add --junit "$JUNIT"
if [ -n "$BASELINE" ]; then
    options+=(--baseline "$BASELINE" --allow-missing-baseline)
    read -r -d '' -a thresholds <<< "$THRESHOLD" || true  # false at the end of the text
    for threshold in "${thresholds[@]}"; do
        add --threshold "$threshold"
    done
fi
memwatch ci-check "${options[@]}" -- "$RECORDING"
