/** A matrix as the server sends it, in 8 bits with a scale for each row, as numbers; and its rows as maps side by side. */

import type { AttentionMatrix, Floats, Grid } from '../data/source';

export function valuesOf({ tokens, levels, scale }: AttentionMatrix): Floats {
  const values = new Float32Array(levels.length);
  for (let at = 0; at < levels.length; at += 1) {
    values[at] = ((levels[at] as number) / 255) * (scale[Math.floor(at / tokens)] as number);
  }
  return values;
}

/** The map of every patch's row, laid out where the patch is: (rows · rows) × (columns · columns), a gap between maps. */
export function queryMaps(
  matrix: AttentionMatrix,
  grid: Grid,
): { values: Floats; rows: number; columns: number } {
  const all = valuesOf(matrix);
  const [tall, wide] = [grid.rows + 1, grid.columns + 1];
  const [rows, columns] = [grid.rows * tall - 1, grid.columns * wide - 1];
  const values = new Float32Array(rows * columns).fill(NaN);
  for (let query = 0; query < grid.rows * grid.columns; query += 1) {
    const top = Math.floor(query / grid.columns) * tall;
    const left = (query % grid.columns) * wide;
    const start = (matrix.prefix + query) * matrix.tokens + matrix.prefix;
    for (let row = 0; row < grid.rows; row += 1) {
      for (let column = 0; column < grid.columns; column += 1) {
        values[(top + row) * columns + left + column] = all[start + row * grid.columns + column] as number;
      }
    }
  }
  return { values, rows, columns };
}

/** What one patch looks at. */
export function rowOf(matrix: AttentionMatrix, token: number): Floats {
  const factor = (matrix.scale[token] as number) / 255;
  return Float32Array.from(
    { length: matrix.tokens - matrix.prefix },
    (_, patch) => (matrix.levels[token * matrix.tokens + matrix.prefix + patch] as number) * factor,
  );
}
