/** Marks on a map in units of its cells: where a patch lies, and the numbers along the sides. */

import type { Grid } from '../data/source';

export function placeOf(patch: number, grid: Grid): { row: number; column: number } {
  return { row: Math.floor(patch / grid.columns), column: patch % grid.columns };
}

/** The patch at shares of the map's width and height; null outside. */
export function patchAt(across: number, down: number, grid: Grid): number | null {
  if (across < 0 || across >= 1 || down < 0 || down >= 1) return null;
  return Math.floor(down * grid.rows) * grid.columns + Math.floor(across * grid.columns);
}

/** The neighbour that an arrow key leads to; the patch itself at the border. */
export function neighbour(patch: number, key: string, grid: Grid): number | null {
  const { row, column } = placeOf(patch, grid);
  const steps: Record<string, [number, number]> = {
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
  };
  const step = steps[key];
  if (!step) return null;
  const [down, across] = step;
  const clamp = (value: number, count: number): number => Math.min(count - 1, Math.max(0, value));
  return clamp(row + down, grid.rows) * grid.columns + clamp(column + across, grid.columns);
}

/** Numbers along a side of `count` cells, few enough to be read. */
export function ticks(count: number, most = 8): number[] {
  const step =
    [1, 2, 4, 5, 8, 10, 16, 20, 32].find((size) => count / size <= most) ?? Math.ceil(count / most);
  return Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step);
}

/** The patch of another grid that lies where the middle of this one does. */
export function samePlace(patch: number, from: Grid, to: Grid): number {
  const { row, column } = placeOf(patch, from);
  const down = Math.floor(((row + 0.5) / from.rows) * to.rows);
  return down * to.columns + Math.floor(((column + 0.5) / from.columns) * to.columns);
}
