/** Numbers of heads put side by side: what importance, distance and patterns say of each. */

import type { Floats } from '../data/source';
import type { Atlas, HeadTable, Metric, Strength } from './heads-data.svelte';

const FAR: readonly { readonly name: string; readonly title: string }[] = [
  { name: 'patch_distance', title: 'mean distance looked at (hops)' },
  { name: 'entropy', title: 'entropy of the rows (bits)' },
];

/** The table with columns for distance, entropy and dependence on content, where they are known. */
export function withDistances(
  table: HeadTable | null,
  strength: Strength | null,
  atlas: Atlas | null,
  places: number,
  width: number,
): HeadTable | null {
  const metrics: Metric[] = [];
  const columns: Floats[] = [];
  for (const { name, title } of strength ? FAR : []) {
    const found = strength?.arrays[name];
    if (!strength || !found) continue;
    const column = new Float32Array(places).fill(NaN);
    const heads = found.shape[1] ?? 0;
    strength.blocks.forEach((block, row) => {
      for (let head = 0; head < heads; head += 1) {
        column[block * width + head] = found.data[row * heads + head] as number;
      }
    });
    metrics.push({ name, title, family: 'distance', signed: false });
    columns.push(column);
  }
  if (atlas && atlas.dependence.length === places) {
    metrics.push({
      name: 'content_dependence',
      title: 'dependence on content (variance over pictures)',
      family: 'pattern',
      signed: false,
    });
    columns.push(atlas.dependence);
  }
  if (!table) {
    if (!metrics.length) return null;
    const all = joined(columns, places);
    return { metrics, pictures: strength?.pictures ?? 0, mean: all, low: all, high: all };
  }
  const with_ = (own: Floats): Floats => joined([own, ...columns], places);
  return {
    metrics: [...table.metrics, ...metrics],
    pictures: table.pictures,
    mean: with_(table.mean),
    low: with_(table.low),
    high: with_(table.high),
  };
}

function joined(parts: readonly Floats[], places: number): Floats {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return places ? all : new Float32Array();
}

/** `0-4,7` of numbers in their order. */
export function rowsText(rows: readonly number[]): string {
  const parts: string[] = [];
  for (let at = 0; at < rows.length;) {
    let end = at;
    while (rows[end + 1] === (rows[end] as number) + 1) end += 1;
    parts.push(end > at ? `${rows[at]}-${rows[end]}` : String(rows[at]));
    at = end + 1;
  }
  return parts.join(',');
}

/** Mean of what is a number; NaN of nothing. */
export function meanOf(values: readonly number[]): number {
  const known = values.filter(Number.isFinite);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
}

/** Ranks from 0 (smallest) to 1, equal values share theirs; NaN stays. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const known = Array.from(values, (value, place) => ({ value, place })).filter(({ value }) =>
    Number.isFinite(value),
  );
  known.sort((a, b) => a.value - b.value);
  const found = new Float64Array(values.length).fill(NaN);
  for (let from = 0; from < known.length;) {
    let to = from;
    while (to + 1 < known.length && known[to + 1]?.value === known[from]?.value) to += 1;
    const rank = known.length > 1 ? (from + to) / 2 / (known.length - 1) : 0.5;
    for (let at = from; at <= to; at += 1) found[known[at]?.place ?? 0] = rank;
    from = to + 1;
  }
  return found;
}
