#!/usr/bin/env bash
# Starts the gateway for the peer benchmark; the harness's variables are in the environment (see README.md).
#   start.sh prepare   makes the ledger of 100,000 people, once
#   start.sh           serves: one worker thread, like its peers
set -eu
here=$(cd "$(dirname "$0")" && pwd)
gateway=${PURPOSEGATE:-$here/../../target/dist/purposegate}
ledger=${LEDGER:-${TMPDIR:-/tmp}/purposegate-peers}

if [ "${1:-}" = prepare ]; then
    [ -e "$ledger/done" ] && exit 0
    rm -rf "$ledger" && mkdir -p "$ledger/data"
    PORT=0 H2C_PORT=0 TLS_PORT=0 MTLS_PORT=0 ORIGIN_PORT=1 python3 "$here/configure.py" config >"$ledger/purposegate.toml"
    python3 "$here/configure.py" events >"$ledger/events.ndjson"
    "$gateway" consent import --config "$ledger/purposegate.toml" "$ledger/events.ndjson"
    touch "$ledger/done"
    exit 0
fi
"$0" prepare
cp -r "$ledger/data" "$WORK/data"
python3 "$here/configure.py" config >"$WORK/purposegate.toml"
TOKIO_WORKER_THREADS=1 exec "$gateway" serve --config "$WORK/purposegate.toml"
