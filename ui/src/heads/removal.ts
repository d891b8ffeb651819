/** What is read off curves over removed heads. */

import type { Floats } from '../data/source';
import type { Metric } from './heads-data.svelte';

export const ANSWERS = ['accuracy', 'probability', 'same_prediction', 'js_divergence'] as const;
export type RemovalAnswer = (typeof ANSWERS)[number];

/** What remains, by answers × orders × numbers of removed heads; the last order is at random where there are such. */
export interface Removal {
  readonly orders: readonly (Metric & { readonly largest_first: boolean })[];
  readonly random: number;
  readonly removed: readonly number[];
  readonly answers: readonly string[];
  readonly pictures: number;
  readonly labelled: boolean;
  readonly mean: Floats;
  readonly low: Floats;
  readonly high: Floats;
}

export interface RemovalCurve {
  /** Null: at random. */
  readonly metric: string | null;
  readonly words: string;
  readonly turned: boolean;
  readonly mean: readonly number[];
  readonly low: readonly number[];
  readonly high: readonly number[];
}

/** The curves of one answer, in the order of the rankings, random ones last. */
export function curvesOf(found: Removal, answer: string): RemovalCurve[] {
  const at = found.answers.indexOf(answer);
  const [steps, count] = [found.removed.length, found.orders.length + (found.random ? 1 : 0)];
  if (at < 0) return [];
  return Array.from({ length: count }, (_, row) => {
    const order = found.orders[row];
    const part = (values: Floats): number[] => {
      const from = (at * count + row) * steps;
      return [...values.subarray(from, from + steps)];
    };
    return {
      metric: order?.name ?? null,
      words: order ? order.title : `at random, ${found.random} times`,
      turned: order?.largest_first ?? false,
      mean: part(found.mean),
      low: part(found.low),
      high: part(found.high),
    };
  });
}

/** The mean height of a curve over everything that is removed, by trapezoids. */
export function areaOf(removed: readonly number[], values: readonly number[]): number {
  let sum = 0;
  for (let step = 1; step < removed.length; step += 1) {
    const wide = (removed[step] as number) - (removed[step - 1] as number);
    sum += (wide * ((values[step] as number) + (values[step - 1] as number))) / 2;
  }
  return sum / ((removed.at(-1) ?? 0) - (removed[0] ?? 0));
}

/** How many heads may go, of the numbers that were tried, until less than a share of the first value is left. */
export function lastWithin(removed: readonly number[], values: readonly number[], share: number): number {
  const first = values.findIndex((value) => !(value >= share * (values[0] as number)));
  return removed[first < 0 ? removed.length - 1 : Math.max(0, first - 1)] ?? 0;
}

/** Some of the rows, evenly from the first to the last. */
export function evenly(rows: readonly number[], most: number): number[] {
  if (rows.length <= most) return [...rows];
  return Array.from({ length: most }, (_, at) => rows[Math.floor((at * rows.length) / most)] as number);
}
