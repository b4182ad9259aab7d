#!/usr/bin/env bash
# Installs memwatch in an environment of its own: only the program itself is added to the PATH.
set -euo pipefail

home=$RUNNER_TEMP/memwatch
python3 -m venv "$home/venv"
if [ -n "$VERSION" ]; then
    "$home/venv/bin/pip" install --quiet "memwatch==$VERSION"
else
    "$home/venv/bin/pip" install --quiet "$GITHUB_ACTION_PATH/../../.."
fi
mkdir -p "$home/bin"
ln -sf "$home/venv/bin/memwatch" "$home/bin/memwatch"
echo "$home/bin" >> "$GITHUB_PATH"
