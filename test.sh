#!/bin/sh
# All tests, on a fresh machine: needs Go, and installs Chromium, Firefox, WebKitGTK,
# nginx, HAProxy, Caddy, curl, Node and Redis from Debian's packages where they are missing
# and it may (as root, with apt-get). Where it may not, their tests are skipped and say so;
# with CI=true that is a failure.
set -eu
cd "$(dirname "$0")"

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Modules of their own, so that what they need is not the library's. Each is
# tested against this tree, with the versions that its own go.mod names.
modules="middleware/stock middleware/telemetry metrics/prometheus metrics/otel bench e2e engine/redis engine/nats engine/nats/embedded faults examples/cluster soak"
export GOWORK=off

each() { for module in $modules; do (cd "$module" && "$@"); done; }
began=$(date +%s)
step() { printf '\n== %s (after %s s)\n' "$*" "$(($(date +%s) - began))"; }

step "format"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not gofmt'ed:"; echo "$unformatted"; exit 1; }

step "vet, here and for the systems that have no way of their own"
go vet ./...
GOOS=windows go vet ./...
GOOS=darwin go vet ./internal/wire # what has files for one system
each go vet ./...

step "staticcheck"
go run "$staticcheck" ./...
each go run "$staticcheck" ./...

step "tools for the page's side"
if command -v npm >/dev/null 2>&1 || { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 &&
	apt-get update -qq && apt-get install -y -qq --no-install-recommends npm >/dev/null; }; then
	npm install --prefix client --no-package-lock --silent || echo "esbuild and tsc could not be installed"
	npm ci --prefix e2e/npm --silent || echo "htmx, Datastar and Turbo could not be installed"
else
	echo "npm could not be installed: the size and the types of comet.js and the hypermedia clients are not checked"
fi

step "tests with the race detector; fuzz seeds, import arrows and dependencies included"
go test -race -shuffle=on -timeout 15m ./...

step "allocations, which the race detector does not leave as they are"
go test -run Allocat ./internal/wire ./scope ./sse ./internal/cursor

step "internal/wire on the newest fasthttp that was tried"
internal/wire/newest.sh v1.77.0 -short

step "middlewares around Comet, and docs/around.md, which the cache of tests does not look at"
(cd middleware/stock && go test -race -count=1 -timeout 5m ./...)
(cd middleware/telemetry && go test -race -count=1 -timeout 5m ./...)

step "metrics: Prometheus, with its dashboard, and OpenTelemetry"
(cd metrics/prometheus && go test -race -timeout 5m ./...)
(cd metrics/otel && go test -race -timeout 5m ./...)

step "the benchmarks' own tests, and the workspace"
(cd bench && go test -race -timeout 5m ./...)
# Each module was vetted by itself; that all of them can be loaded as one is left.
GOWORK= go list -deps -test ./... $(for module in $modules; do echo "./$module/..."; done) >/dev/null

step "engines on real servers: Redis, and NATS, alone and as three processes"
if ! command -v redis-server >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server >/dev/null || echo "could not be installed: redis-server"
fi
if [ "${CI:-}" = true ]; then
	COMET_REDIS=required
	export COMET_REDIS
fi
(cd engine/redis && go test -race -shuffle=on -timeout 10m ./...)
(cd engine/nats && go test -race -timeout 5m ./...)
(cd engine/nats/embedded && go test -race -timeout 10m ./...)

step "the example of three nodes, which are killed and drained"
(cd examples/cluster && go test -race -timeout 5m ./...)

step "faults: servers killed, stopped, cut off, emptied and promoted under load"
faults/test.sh

step "torture: a soak of twenty seconds, and the proof that all was given back"
(cd soak && go test -race -count=1 -timeout 5m -v ./...)

step "browsers, then proxies"
missing=
for browser in chromium chromium-headless-shell firefox-esr; do
	command -v "$browser" >/dev/null 2>&1 || missing="$missing $browser"
done
for tool in WebKitWebDriver:webkit2gtk-driver Xvfb:xvfb nginx:nginx-light haproxy:haproxy caddy:caddy curl:curl node:nodejs; do
	command -v "${tool%:*}" >/dev/null 2>&1 || missing="$missing ${tool#*:}"
done
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	# shellcheck disable=SC2086 # they are words
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null || echo "could not be installed:$missing"
fi
if [ "${CI:-}" = true ]; then
	COMET_BROWSER=required
	COMET_PROXIES=required
	export COMET_BROWSER COMET_PROXIES
fi
# Without the race detector, which all that Comet is made of has had by now: here it is the browsers that need the processor.
(cd e2e && go test -c -o artifacts/programs/e2e.test . && artifacts/programs/e2e.test -test.run '^TestPrograms$' -test.timeout 10m) # they, and what they open, are built
browsing=$(date +%s)
(cd e2e && artifacts/programs/e2e.test -test.v -test.timeout 10m)
echo "the browsers took $(($(date +%s) - browsing)) s"
(cd e2e && go test -race -count=1 -timeout 10m -v ./proxies)
step "done"
