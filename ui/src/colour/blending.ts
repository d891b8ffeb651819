/** How colours are laid on a photograph: as in every other drawing of vitscope, the cover grows with the value. */

import type { Floats } from '../data/source';
import type { Table } from './tables';
import type { Scaling } from './scaling';

export type Pixels = Uint8ClampedArray<ArrayBuffer>;

const INVALID = [224, 224, 224] as const;

/** Light and dark, on which a colour bar shows what its colours look like on a picture. */
export const GROUNDS = ['#ffffff', '#383e46'] as const;

/** How much of the picture a position of the scale covers at full opacity. */
export function cover(position: number, diverging: boolean): number {
  if (Number.isNaN(position)) return 0;
  return diverging ? Math.abs(2 * position - 1) : position;
}

/** RGBA of each value, hatching is up to the caller; `covering` is false where the map stands alone, opaque. */
export function pixelsOf(values: Floats, scaling: Scaling, table: Table, covering: boolean): Pixels {
  const pixels = new Uint8ClampedArray(4 * values.length);
  for (let index = 0; index < values.length; index += 1) {
    const position = scaling.position(values[index] as number);
    const at = 3 * Math.round(255 * Math.min(1, Math.max(0, position)));
    const known = !Number.isNaN(position);
    for (let channel = 0; channel < 3; channel += 1) {
      pixels[4 * index + channel] = (known ? table[at + channel] : INVALID[channel]) as number;
    }
    pixels[4 * index + 3] = covering ? Math.round(255 * cover(position, scaling.diverging)) : 255;
  }
  return pixels;
}
