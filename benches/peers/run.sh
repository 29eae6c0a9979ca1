#!/usr/bin/env bash
# Measures the gateway beside its peers. usage: run.sh HARNESS [arguments of the harness's run.sh]
#   run.sh ../bench --quick --suts nginx-plain,nginx-lua,ours
# DURABILITY=before-release measures it with the log on disk before each release.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
harness=${1:?the folder of the peer benchmark harness}
shift
cargo build --profile dist --manifest-path "$here/../../Cargo.toml"
export OURS_INSTALL="'$here/start.sh' prepare" OURS_CMD="'$here/start.sh'" DURABILITY=${DURABILITY:-batched}
exec "$harness/run.sh" "$@"
