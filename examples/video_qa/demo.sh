#!/bin/sh
# The demonstration behind `make demo`: compile, run, and compile again for a cluster.
set -eu
cd "$(dirname "$0")/../.."
workflow=examples/video_qa/video_qa.mkb
out=.murakkab/demo
mkdir -p "$out"

say() { printf '\n\033[1m%s\033[0m\n' "\$ $*"; }
show() { say "$@"; "$@"; }

show mkb compile "$workflow" -o "$out/local.json"
show mkb inspect "$out/local.json"
show mkb run "$out/local.json" \
    --input query="Which platform does the train to Lyon leave from?" \
    --input video=examples/video_qa/station.mp4 \
    --record "$out/run.json"

printf '\nThe same file, for a cluster of 2 nodes with 8 A100 each:\n'
show mkb compile "$workflow" --cluster examples/clusters/two-a100-nodes.toml -o "$out/cluster.json"
show mkb compare "$out/local.json" "$out/cluster.json"
