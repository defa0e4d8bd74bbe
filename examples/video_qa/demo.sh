#!/bin/sh
# The demonstration behind `make demo`: compile, run, and compile again for a cluster.
set -eu
cd "$(dirname "$0")/../.."
workflow=examples/video_qa/video_qa.mkb
cluster=examples/clusters/two-a100-nodes.toml
out=.murakkab/demo
mkdir -p "$out"

# Shows a command as a person would type it, and runs it.
show() {
    printf '\n$'
    for word in "$@"; do
        case $word in
        *" "*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$@"
}

echo "1. Compile the workflow for this machine's CPU, beside -O0."
show mkb compile "$workflow"

printf '\n2. Run it on a video.\n'
show mkb compile "$workflow" -o "$out/local.json"
show mkb run "$out/local.json" \
    --input query="Which platform does the train to Lyon leave from?" \
    --input video=examples/video_qa/station.mp4 \
    --record "$out/run.json"

printf '\n3. Compile the same file for two nodes of eight A100s, beside -O0 there.\n'
show mkb compile "$workflow" --cluster "$cluster"
show mkb compile "$workflow" --cluster "$cluster" -o "$out/cluster.json"

printf '\nWhat changed from this machine to the cluster:\n'
show mkb compare "$out/local.json" "$out/cluster.json"

printf '\nThe plans and the record are in %s. To go on:\n\n' "$out"
printf '  %-44s # %s\n' \
    ". .venv/bin/activate" "puts mkb on the path" \
    "mkb explain $out/cluster.json seen" "why a step runs as it does" \
    "mkb show $out seen" "what each of its calls read" \
    "mkb new hello" "a project: docs/tutorial.md"
