#!/usr/bin/env bash
# Random clusters, one after the other, and what comes through. The test compares it with the oracle.
here=$(dirname "$0")
for case in "$here"/case-*.json; do
  name=$(basename "$case" .json)
  $LAB apply "$case" && $LAB wait >/dev/null || exit 1
  $LAB probe "$here/probes.jsonl" >"$LAB_OUT/$name.jsonl" || exit 1
  # The next case needs no policy of this one to be in Linux before it comes.
  $LAB delete "${case/case-/gone-}" || exit 1
done
