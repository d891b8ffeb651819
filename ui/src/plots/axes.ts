/** Round numbers for an axis, and places along it. */

import { ends } from '../colour/scaling';

export function ticks(low: number, high: number, about = 4): number[] {
  if (!(high > low)) return Number.isFinite(low) ? [low] : [];
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const found: number[] = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) {
    found.push(Math.abs(value) < step * 1e-9 ? 0 : Number(value.toPrecision(12)));
  }
  return found;
}

export interface Axis {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
  /** Where a value is, in pixels. */
  readonly at: (value: number) => number;
}

/** An axis over values from one pixel to another; zero is on it where `zero` says so. */
export function axisOf(values: Iterable<number>, from: number, to: number, zero = false): Axis {
  const finite = [...values].filter(Number.isFinite);
  let [low, high] = finite.length ? ends(zero ? [...finite, 0] : finite) : [0, 1];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  return {
    low,
    high,
    ticks: ticks(low, high),
    at: (value) => from + ((value - low) / (high - low)) * (to - from),
  };
}

export function linePath(xs: ArrayLike<number>, ys: ArrayLike<number>): string {
  let path = '';
  let pen = false;
  for (let index = 0; index < xs.length; index += 1) {
    const [x, y] = [xs[index] as number, ys[index] as number];
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      pen = false;
      continue;
    }
    path += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  }
  return path;
}
