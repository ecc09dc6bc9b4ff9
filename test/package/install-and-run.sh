#!/usr/bin/env bash
# Packs, installs the tarball in an empty folder, and runs what it installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$work"' EXIT

tarball=$(npm pack --silent --pack-destination "$work")
cd "$work"
npm init -y >/dev/null
npm install --no-audit --no-fund "./$tarball" >/dev/null
castellan=node_modules/.bin/castellan
"$castellan" version

"$castellan" serve --config node_modules/castellan/examples/quickstart.yaml --port 0 --data-dir data 2>log &
server=$!
for _ in $(seq 150); do grep -q 'Castellan is running' log && break; sleep 0.2; done
token=$(grep -oE 'cst_pat_[[:alnum:]]+' log | head -1)
url=$(grep -oE 'http://[^ ]+/projects/demo/mcp' log | head -1)
CASTELLAN_TOKEN=$token "$castellan" test mcp "$url" --tool everything__echo --args '{"message":"packed"}' \
  --expect-tools everything__echo,filesystem__list_directory,memory__read_graph
kill -TERM "$server"
wait "$server"
server=
echo "package: installed, started, used, stopped"
