#!/bin/sh
# This package's tests, with a newer fasthttp than go.mod asks for:
#
#	newest.sh [version] [go test flags]
#
# The version is v1.77.0, the newest that was tried, or any that `go get` takes,
# such as latest. go.mod and go.sum stay as they are.
set -eu
cd "$(dirname "$0")/../.."
version=${1:-v1.77.0}
[ $# -eq 0 ] || shift

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp go.mod "$dir/newest.mod"
cp go.sum "$dir/newest.sum"
GOWORK=off
GOFLAGS="${GOFLAGS:-} -modfile=$dir/newest.mod"
export GOWORK GOFLAGS
go get "github.com/valyala/fasthttp@$version"
go test -race "$@" ./internal/wire/
