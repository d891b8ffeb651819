/** Two maps against each other, whatever their units are. */

import type { Floats, MapResult } from '../data/source';

/** Each map divided by its largest absolute value, the first minus the second; null where their grids differ. */
export function differenceOf(first: MapResult, second: MapResult): Floats | null {
  const { rows, columns } = first.grid;
  if (rows !== second.grid.rows || columns !== second.grid.columns) return null;
  const [one, other] = [evened(first.map), evened(second.map)];
  return one.map((value, place) => value - (other[place] as number));
}

function evened(values: Floats): Floats {
  const largest = values.reduce(
    (most, value) => Math.max(most, Number.isFinite(value) ? Math.abs(value) : 0),
    0,
  );
  return largest > 0 ? values.map((value) => value / largest) : values.slice();
}
