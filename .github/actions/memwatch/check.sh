#!/usr/bin/env bash
# Judges the recording. memwatch writes the annotations, the job summary and the outputs.
set -euo pipefail

options=()
add() {
    if [ -n "$2" ]; then options+=("$1" "$2"); fi
}
add --max-total-rss "$MAX_TOTAL_RSS"
add --max-per-proc-rss "$MAX_PER_PROC_RSS"
add --max-total-pss "$MAX_TOTAL_PSS"
add --max-total-footprint "$MAX_TOTAL_FOOTPRINT"
add --junit "$JUNIT"
if [ -n "$BASELINE" ]; then
    options+=(--baseline "$BASELINE" --allow-missing-baseline)
    add --metric "$METRIC"
    read -r -d '' -a thresholds <<< "$THRESHOLD" || true  # read returns false at the end of the text
    for threshold in "${thresholds[@]}"; do
        add --threshold "$threshold"
    done
fi
if [ -z "$MAX_TOTAL_RSS$MAX_PER_PROC_RSS$MAX_TOTAL_PSS$MAX_TOTAL_FOOTPRINT$BASELINE" ]; then
    if [ -n "$THRESHOLD$METRIC$JUNIT" ]; then
        echo "::error title=memwatch::threshold, metric and junit need a limit or a baseline"
        exit 1
    fi
    echo "memwatch: nothing was checked: no limit and no baseline is given"
    exit 0
fi
memwatch ci-check "${options[@]}" -- "$RECORDING"
