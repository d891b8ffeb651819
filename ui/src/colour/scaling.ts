/** How raw values become positions on the colour bar; the same rules as `vitscope.rendering.maps.scaling`. */

import type { Floats } from '../data/source';
import type { Curve } from '../state/view-state';

export interface Scaling {
  /** The raw values at 0, ½ and 1 of the bar. */
  readonly low: number;
  readonly middle: number;
  readonly high: number;
  /** The lowest and the highest of the values. */
  readonly least: number;
  readonly greatest: number;
  /** Positions grow evenly with the values. */
  readonly even: boolean;
  /** Zero in the middle, for values with a sign. */
  readonly diverging: boolean;
  /** All values alike (but for rounding): nothing is stretched into a pattern. */
  readonly constant: boolean;
  /** Values without a finite number. */
  readonly invalid: number;
  /** The position of a value, 0 to 1; NaN where there is none. */
  readonly position: (value: number) => number;
}

/** A relative range below this is rounding of float32. */
const FLAT = 1e-6;

/** The scale that the values share: those of one map, or of all maps that are to be comparable. */
export function scaleOf(values: Floats, curve: Curve, signed: boolean): Scaling {
  const finite = values.filter(Number.isFinite);
  const known = { invalid: values.length - finite.length, diverging: signed };
  if (!finite.length) {
    const none = { low: NaN, middle: NaN, high: NaN, least: NaN, greatest: NaN };
    return { ...known, ...none, even: true, constant: false, position: () => NaN };
  }
  const [low, high] = ends(finite);
  const shared = { ...known, least: low, greatest: high, even: signed || curve === 'linear' };
  if (signed) return { ...shared, ...signedScale(low, high) };
  const constant = high - low <= FLAT * Math.max(Math.abs(low), Math.abs(high));
  if (constant) return { ...shared, low, middle: low, high, constant, position: only(() => 0) };
  return { ...shared, low, high, constant, ...unsignedScale(low, high, curve, finite) };
}

function unsignedScale(
  low: number,
  high: number,
  curve: Curve,
  finite: Floats,
): Pick<Scaling, 'middle' | 'position'> {
  const share = (value: number): number => clamp((value - low) / (high - low));
  if (curve === 'sqrt') {
    return { middle: low + (high - low) / 4, position: only((value) => Math.sqrt(share(value))) };
  }
  if (curve === 'rank') {
    const sorted = finite.slice().sort();
    return { middle: medianOf(sorted), position: only((value) => rankIn(sorted, value)) };
  }
  return { middle: (low + high) / 2, position: only(share) };
}

/** Equal distances from zero look equally strong; linear whatever the curve, as in every drawing of a signed map. */
function signedScale(
  low: number,
  high: number,
): Pick<Scaling, 'low' | 'middle' | 'high' | 'constant' | 'position'> {
  const limit = Math.max(-low, high);
  const position = (value: number): number => (limit === 0 ? 0.5 : 0.5 + (0.5 * value) / limit);
  return {
    low: -limit,
    middle: 0,
    high: limit,
    constant: high - low <= FLAT * limit,
    position: only(position),
  };
}

function only(position: (value: number) => number): (value: number) => number {
  return (value) => (Number.isFinite(value) ? position(value) : NaN);
}

function clamp(share: number): number {
  return Math.min(1, Math.max(0, share));
}

export function ends(values: Iterable<number>): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** How many of the sorted values are below `value`, and how many are not above it. */
function bounds(sorted: Floats, value: number): [number, number] {
  const search = (passes: (other: number) => boolean): number => {
    let [from, to] = [0, sorted.length];
    while (from < to) {
      const at = (from + to) >>> 1;
      if (passes(sorted[at] as number)) from = at + 1;
      else to = at;
    }
    return from;
  };
  return [search((other) => other < value), search((other) => other <= value)];
}

/** The average rank of equal values, from 0 to 1. */
function rankIn(sorted: Floats, value: number): number {
  if (sorted.length < 2) return 0;
  const [below, upTo] = bounds(sorted, value);
  return clamp((below + upTo - 1) / 2 / (sorted.length - 1));
}

function medianOf(sorted: Floats): number {
  const half = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(half)] as number) + (sorted[Math.ceil(half)] as number)) / 2;
}
