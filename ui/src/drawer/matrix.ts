/** What is read from an attention matrix: values, sums of rows and columns, the strongest pairs. */

import type { AttentionMatrix, Floats, Grid } from '../data/source';
import { patchName } from '../format/words';
import type { Direction } from '../state/view-state';

/** Attention from one token (row) to another (column); prefix tokens first. */
export interface Edge {
  readonly query: number;
  readonly key: number;
  readonly value: number;
}

export function valuesOf({ tokens, levels, scale }: AttentionMatrix): Floats {
  const values = new Float32Array(tokens * tokens);
  for (let query = 0; query < tokens; query += 1) {
    const unit = (scale[query] as number) / 255;
    for (let key = 0; key < tokens; key += 1) {
      values[query * tokens + key] = (levels[query * tokens + key] as number) * unit;
    }
  }
  return values;
}

/** How much of each token's attention stays on patches; how much attention each token gets, summed over patches. */
export function sums(values: Floats, tokens: number, prefix: number): { rows: Floats; columns: Floats } {
  const rows = new Float32Array(tokens);
  const columns = new Float32Array(tokens);
  for (let query = 0; query < tokens; query += 1) {
    for (let key = 0; key < tokens; key += 1) {
      const value = values[query * tokens + key] as number;
      if (key >= prefix) rows[query] = (rows[query] as number) + value;
      if (query >= prefix) columns[key] = (columns[key] as number) + value;
    }
  }
  return { rows, columns };
}

/**
 * The strongest pairs at or above the threshold, the strongest first. With a token: only what it looks at (out) or who
 * looks at it (in). Tokens before `first` take part only as that token. A token's look at itself is no pair.
 */
export function strongest(
  values: Floats,
  tokens: number,
  first: number,
  token: number | null,
  direction: Direction,
  top: number,
  threshold: number,
): Edge[] {
  const edges: Edge[] = [];
  const take = (query: number, key: number): void => {
    const value = values[query * tokens + key] as number;
    if (query !== key && value >= threshold && value > 0) edges.push({ query, key, value });
  };
  for (let other = first; other < tokens; other += 1) {
    if (token === null) for (let key = first; key < tokens; key += 1) take(other, key);
    else if (direction === 'out') take(token, other);
    else take(other, token);
  }
  return edges.sort((a, b) => b.value - a.value || a.query - b.query || a.key - b.key).slice(0, top);
}

export function tokenName(token: number, prefix: number, names: readonly string[], grid: Grid): string {
  return token < prefix ? (names[token] ?? `prefix token ${token}`) : patchName(token - prefix, grid);
}
