#!/usr/bin/env bash
# Builds purposegate with profile-guided optimisation: an instrumented build serves the demonstration's
# people over and over, and the build of profile `dist` is laid out for what that used. Takes two such builds;
# says at the end where the program is. Needs curl and rustup.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
if [ ! -x "$profdata" ]; then rustup component add llvm-tools; fi

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/pgo
program=$CARGO_TARGET_DIR/$host/dist/purposegate
work=$(mktemp -d)
demo=
finish() {
    if [ -n "$demo" ]; then kill "$demo" 2>/dev/null || true; wait "$demo" || true; fi
    demo=
}
trap 'finish; rm -rf "$work"' EXIT

build() { # build FLAG; with a target named, build scripts and macros are left as they are
    RUSTFLAGS="${RUSTFLAGS:-} $1" cargo build --profile dist --locked --bin purposegate --target "$host"
}

ask() { # ask PURPOSE PATH, as the demonstration's service desk
    curl -sS --cacert "$ca" -H "Authorization: Bearer $key" -H "Data-Purpose: $1" -o "$work/answer" "$gateway$2"
}

train() {
    : >"$work/demo"
    "$program" demo >>"$work/demo" &
    demo=$!
    until key=$(grep -om 1 'pgk_[a-z0-9_]*' "$work/demo"); do kill -0 "$demo"; sleep 0.1; done
    gateway=$(grep -om 1 'https://localhost:[0-9]*' "$work/demo")
    ca=$(grep -om 1 '/[^ ]*/ca.pem' "$work/demo")
    for _ in $(seq 20); do
        ask customer-support '/customers/c-[00001-01000]'
        ask trend-analysis '/customers/c-[00001-00500]'
        ask account-management '/scim/Users'
        ask order-fulfilment '/orders'
        ask direct-marketing '/customers'
        "$program" scrub --remove '$..email' --remove '$.items[*].name' <"$work/answer" >"$work/scrubbed"
    done
    finish
}

echo "==> the instrumented build"
build "-Cprofile-generate=$work/raw"
echo "==> the demonstration is served"
train
"$profdata" merge -o "$work/profile" "$work/raw"
echo "==> the guided build"
build "-Cprofile-use=$work/profile"
echo "==> $program"
