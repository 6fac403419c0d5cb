#!/bin/sh
# The fault suite, on a fresh machine: real servers are killed, stopped, cut off and
# emptied under load. Needs Go; installs Redis and iproute2 from Debian's packages where
# they are missing and it may (as root, with apt-get). Hosts that are cut off are network
# namespaces, which take root. What cannot run is skipped and says so; with CI=true that
# is a failure. COMET_SEED repeats a run, arguments go to go test.
set -eu
cd "$(dirname "$0")"
export GOWORK=off

missing=
for tool in redis-server:redis-server redis-cli:redis-tools ip:iproute2; do
	command -v "${tool%:*}" >/dev/null 2>&1 || missing="$missing ${tool#*:}"
done
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	# shellcheck disable=SC2086 # they are words
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null || echo "could not be installed:$missing"
fi
if [ "${CI:-}" = true ]; then
	COMET_REDIS=required
	COMET_FAULTS=required
	export COMET_REDIS COMET_FAULTS
fi
exec go test -race -count=1 -parallel 3 -timeout 10m -v "$@" ./...
