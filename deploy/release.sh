#!/usr/bin/env bash
# Makes what a release consists of in target/release-files: the program, a Debian package, the chart, a bill of materials
# (CycloneDX) and checksums. Needs `cargo install cargo-deb cargo-cyclonedx`, and helm, in the path or from tests/run.
#
# usage: deploy/release.sh [--profile PROFILE]      the default is `dist`; another one is for trying this script
set -euo pipefail
cd "$(dirname "$0")/.."

profile=dist
if [ "${1:-}" = --profile ]; then profile=$2; fi
folder=$profile
[ "$profile" != dev ] || folder=debug
target=${CARGO_TARGET_DIR:-target}
out=$PWD/target/release-files
helm=$(command -v helm || echo "$PWD/target/tools/helm")

rm -rf "$out"
mkdir -p "$out"
echo "==> the program"
cargo build --profile "$profile" --locked --bin purposegate
install -m 755 "$target/$folder/purposegate" "$out/"
echo "==> manual pages and completions"
# Cargo.toml names these files for the package.
rm -rf target/package-files
mkdir -p target/package-files/completions
"$out/purposegate" man --out target/package-files/man
for shell in bash zsh fish; do
    "$out/purposegate" completions "$shell" >"target/package-files/completions/$shell"
done
gzip --best --no-name target/package-files/man/*
echo "==> the Debian package"
cargo deb --no-build --profile "$profile" --output "$out/"
echo "==> the bill of materials"
# All features on the target that is built; crates that only build scripts and tests use are not in the program.
cargo cyclonedx --format json --spec-version 1.5 --all-features --no-build-deps --target "$(rustc -vV | sed -n 's/^host: //p')" \
    --override-filename purposegate.cdx
# The folder of this build is nobody's business.
sed "s#file://$PWD#file:///src#g" purposegate.cdx.json >"$out/purposegate.cdx.json"
rm purposegate.cdx.json
echo "==> the chart"
"$helm" package deploy/helm/purposegate --destination "$out" >/dev/null
(cd "$out" && sha256sum -- * >SHA256SUMS)
ls -l "$out"
