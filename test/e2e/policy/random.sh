#!/usr/bin/env bash
# Policies of random cases, one case after the other, and what comes through. The test compares it with the oracle.
here=$(dirname "$0")
for case in "$here"/case-*.json; do
  name=$(basename "$case" .json)
  $LAB apply "$case" && $LAB wait >/dev/null || exit 1
  $LAB probe "$here/${name/case/probe}.jsonl" >"$LAB_OUT/$name.jsonl" || exit 1
  $LAB delete "$case" || exit 1
done
