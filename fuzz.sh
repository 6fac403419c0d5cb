#!/bin/sh
# Every fuzzer of the repository, each for the duration given (of go test: 10m, 20s, 1000x;
# 20s if none), and then what each did. A further argument chooses packages by a part of
# their path. COMET_FUZZ_JOBS is how many run at a time (1), COMET_FUZZ_PARALLEL how many
# processes each has (1). Findings are kept by Go in testdata/fuzz beside the fuzzer, from
# where go test runs them for ever: mend, and commit the file with it.
set -eu

# one FILE FUZZER fuzzes, and tells how it went on a line of standard output.
one() {
	dir=$(dirname "$1")
	log=$(mktemp)
	result="no finding"
	(cd "$dir" && go test -run '^$' -fuzz "^$2\$" -fuzztime "$duration" -parallel "${COMET_FUZZ_PARALLEL:-1}" -timeout 0 .) >"$log" 2>&1 || {
		# When the time is over, Go may call its own end a failure (go.dev/issue/75804):
		# a finding has an input.
		if grep -q 'Failing input' "$log" || ! grep -q '^    context deadline exceeded$' "$log"; then
			result="FINDING"
			cat "$log" >&2
		fi
	}
	execs=$(sed -n 's/^fuzz: elapsed.*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
	new=$(sed -n 's/^fuzz: elapsed.*new interesting: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
	rm -f "$log"
	printf '%-22s %-24s %12s executions %6s interesting  %s\n' "$dir" "$2" "${execs:-0}" "${new:-0}" "$result"
	[ "$result" = "no finding" ]
}

if [ "${1:-}" = -one ]; then
	duration=$2
	one "$3" "$4"
	exit
fi

cd "$(dirname "$0")"
duration=${1:-20s}
only=${2:-}
export GOWORK=off
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# A fuzzer is a function FuzzX of a test file; its package is the directory.
fuzzers=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/:func / /; s|^\./||' | grep "^[^ ]*$only[^ ]*/" | sort)
[ -n "$fuzzers" ] || { echo "no fuzzer was found"; exit 1; }
failed=0
echo "$fuzzers" | xargs -P "${COMET_FUZZ_JOBS:-1}" -n 2 ./fuzz.sh -one "$duration" >"$report" || failed=1
printf '== each for %s\n' "$duration"
sort "$report"
exit "$failed"
