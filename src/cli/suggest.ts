/** "Did you mean": the candidate nearest to a word that was not understood. */

/** The candidate with the fewest edits, or `undefined` when none is near: up to a third of the word may differ. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let fewest = Math.floor(word.length / 3) + 1;
  for (const candidate of candidates) {
    const count = edits(word, candidate);
    if (count < fewest) {
      best = candidate;
      fewest = count;
    }
  }
  return best;
}

/** Insertions, deletions and substitutions from one word to another (Levenshtein). */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
