#!/bin/sh
# Run the tests that failed once more, one after the other with nothing beside them.
# Usage: run_failed_again.sh PYTHON MARKERS TESTS...
#
# A test of processes, sockets and clocks may fail because two workers and their servers shared two cores. One that
# fails again is a failure, and so are more than a few: then something is broken. One that passes is printed as
# unstable, so that somebody fixes it.
set -eu
python=$1 markers=$2
shift 2
most=5

failed=$("$python" -m pytest -q --collect-only --last-failed --last-failed-no-failures=none -m "$markers" "$@" |
	grep '::' || true)
number=$(printf '%s' "$failed" | grep -c '' || true)
if [ "$number" -eq 0 ] || [ "$number" -gt "$most" ]; then
	echo "$number failed tests that can be run again; more than $most, or none, are not." >&2
	exit 1
fi
printf '\nUnstable, run once more alone:\n%s\n' "$failed" >&2
exec "$python" -m pytest -q --last-failed --last-failed-no-failures=none -m "$markers" "$@"
