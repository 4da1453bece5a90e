#!/bin/sh
# The demo (scripts/demo.ts) with the pinned Node; make demo builds first.
cd "$(dirname "$0")/.." || exit 1
exec node_modules/.bin/node --no-warnings scripts/demo.ts "$@"
