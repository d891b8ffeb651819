/** Facts of each block's attention as curves: the mean over heads, and the heads' range. */

import { ends } from '../colour/scaling';
import type { BlockFacts, Floats } from '../data/source';

export interface Curve {
  readonly name: string;
  readonly unit: string;
  readonly help: string;
  readonly mean: readonly number[];
  readonly low: readonly number[];
  readonly high: readonly number[];
}

export function curvesOf(facts: BlockFacts): Curve[] {
  const rows: [string, string, string, Floats | null][] = [
    ['entropy', 'bits', 'Entropy of a patch’s attention: high where it looks everywhere', facts.entropy],
    ['class share', '%', 'Share of a patch’s attention that goes to the class token', facts.classShare],
    ['hop', 'patches', 'How far a patch looks, in patches', facts.hop],
  ];
  return rows.flatMap(([name, unit, help, values]) =>
    values
      ? [{ name, unit, help, ...summary(values, facts.blocks, facts.heads, unit === '%' ? 100 : 1) }]
      : [],
  );
}

function summary(
  values: Floats,
  blocks: number,
  heads: number,
  factor: number,
): Pick<Curve, 'mean' | 'low' | 'high'> {
  const perBlock = Array.from({ length: blocks }, (_, block) =>
    Array.from(values.subarray(block * heads, (block + 1) * heads))
      .filter(Number.isFinite)
      .map((value) => value * factor),
  );
  return {
    mean: perBlock.map((row) => row.reduce((sum, value) => sum + value, 0) / row.length),
    low: perBlock.map((row) => ends(row)[0]),
    high: perBlock.map((row) => ends(row)[1]),
  };
}

/** Points of a line in a box of `blocks` × 1, the lowest value at the bottom; what has no number is left out. */
export function points(values: readonly number[], [low, high]: readonly [number, number]): string {
  const span = high - low || 1;
  return values
    .flatMap((value, block) =>
      Number.isFinite(value) ? [`${block + 0.5},${(1 - (value - low) / span).toFixed(4)}`] : [],
    )
    .join(' ');
}
