/** What the main map, the strip and the heads show, and which values share a colour scale: plain functions. */

import { scaleOf, type Scaling } from '../colour/scaling';
import type { AttentionRows, Floats, Grid, MapResult } from '../data/source';
import type { Curve, Scale } from '../state/view-state';

/** A token outside the grid. `value`: on the scale of the cells; null where only its share is known. */
export interface TokenValue {
  readonly name: string;
  readonly value: number | null;
  /** Of all that lies on tokens and cells, by size. */
  readonly share: number;
}

/** A map ready to be drawn: values on the grid, and what lies on the tokens outside of it. */
export interface ShownMap {
  readonly grid: Grid;
  readonly values: Floats;
  readonly prefix: readonly TokenValue[];
}

export function cellsOf(grid: Grid): number {
  return grid.rows * grid.columns;
}

/** The map of a block of the flow; null outside the flow. */
export function flowMap(result: MapResult, block: number): Floats | null {
  if (!result.flow) return null;
  const place = block - result.flow.first;
  if (place < 0 || place >= result.flow.count) return null;
  const cells = cellsOf(result.grid);
  return result.flow.values.subarray(place * cells, (place + 1) * cells);
}

/** The tokens outside the grid for one block of the flow; none where the method does not tell. */
export function flowPrefix(result: MapResult, block: number, values: Floats): TokenValue[] {
  const place = block - (result.flow?.first ?? 0);
  const told = result.prefix.map(({ name, flow }) => ({ name, value: flow?.[place] ?? null }));
  if (told.some(({ value }) => value === null)) return [];
  return shared(told as { name: string; value: number }[], values);
}

/** Values with their shares of the whole. */
function shared(tokens: readonly { name: string; value: number }[], cells: Floats): TokenValue[] {
  const size = (value: number): number => (Number.isFinite(value) ? Math.abs(value) : 0);
  const outside = tokens.reduce((sum, { value }) => sum + size(value), 0);
  const whole = cells.reduce((sum, value) => sum + size(value), outside) || 1;
  return tokens.map(({ name, value }) => ({ name, value, share: size(value) / whole }));
}

/** Attention of one head, on patches and prefix tokens. */
export function headRow(rows: AttentionRows, head: number): Floats {
  return rows.values.subarray(head * rows.tokens, (head + 1) * rows.tokens);
}

/** The mean over some heads; all of them when none is named. */
export function meanRow(rows: AttentionRows, heads: readonly number[]): Floats {
  const chosen = heads.length ? heads : Array.from({ length: rows.heads }, (_, head) => head);
  const mean = new Float32Array(rows.tokens);
  for (const head of chosen) {
    headRow(rows, head).forEach((value, token) => {
      mean[token] = (mean[token] as number) + value / chosen.length;
    });
  }
  return mean;
}

/** A row of tokens as a map: the patches on the grid, the prefix tokens beside it. */
export function mapOfRow(row: Floats, { grid, prefix }: AttentionRows, names: readonly string[]): ShownMap {
  return {
    grid,
    values: row.subarray(prefix),
    prefix: shared(
      Array.from({ length: prefix }, (_, token) => ({
        name: names[token] ?? `prefix token ${token}`,
        value: row[token] as number,
      })),
      row.subarray(prefix),
    ),
  };
}

/**
 * The scale of one map. `block`: the maps of the same block share it; `global`: the maps of all blocks do.
 * What is not there yet takes no part.
 */
export function sharedScale(
  own: Floats,
  block: readonly Floats[],
  all: readonly Floats[],
  scale: Scale,
  curve: Curve,
  signed: boolean,
): Scaling {
  const group = { map: [own], block, global: all }[scale];
  return scaleOf(
    group.length === 1 && group[0] ? group[0] : joined(group.length ? group : [own]),
    curve,
    signed,
  );
}

export function joined(parts: readonly Floats[]): Floats {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
