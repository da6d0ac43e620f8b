# Sourced by tests/run and .ci/run: stages that say how long they took.

current_stage="the beginning"
trap '[ $? -eq 0 ] || echo "== FAILED in $current_stage" >&2' EXIT

# Runs a command. Under `set -e` the first command in it that fails ends the script; so it must
# not stand in a condition here, where bash would go on.
stage() {
    local started=$SECONDS
    current_stage=$1
    shift
    echo "== $current_stage"
    "$@"
    echo "== $current_stage: $((SECONDS - started)) s"
}
