/** The colours of the maps: the very tables that Python draws with (`scripts/page_fixtures.py` writes them). */

import type { Colour } from '../state/view-state';
import written from './tables.json';

export type Table = Uint8Array<ArrayBuffer>;

const tables = new Map<string, Table>();

/** 256 colours, RGB one after the other. */
export function colourTable(name: Colour): Table {
  const known = tables.get(name);
  if (known) return known;
  const digits = written[name];
  const table = Uint8Array.from({ length: 768 }, (_, index) =>
    parseInt(digits.slice(2 * index, 2 * index + 2), 16),
  );
  tables.set(name, table);
  return table;
}

/** The colour at a position from 0 to 1, as a cell of the map is painted. */
export function colourAt(name: Colour, position: number): string {
  const table = colourTable(name);
  const at = 3 * Math.round(255 * position);
  return `rgb(${table[at]} ${table[at + 1]} ${table[at + 2]})`;
}

/** The colours of a map: those asked for where they suit it, else the usual ones. */
export function suited(asked: Colour | null, signed: boolean): Colour {
  const diverging = asked === 'blue-red' || asked === 'purple-orange';
  if (asked !== null && diverging === signed) return asked;
  return signed ? 'blue-red' : 'viridis';
}
