/** What a colour bar shows; the same rules as `bar_of` in `vitscope.rendering.maps.colourbar`. */

import { numeral } from '../format/numbers';
import type { Colour } from '../state/view-state';
import { cover } from './blending';
import type { Scaling } from './scaling';
import { colourTable } from './tables';

export interface Bar {
  /** The part of the colours from the lowest to the highest value of the maps. */
  readonly span: readonly [number, number];
  /** Written at the low end, at the share `place` of the length, and at the high end. */
  readonly texts: readonly [string, string, string];
  readonly place: number;
  /** At which value full colour is, where no value of the maps has it. */
  readonly limit: string;
}

export function barOf(scaling: Scaling): Bar {
  const whole = { span: [0, 1], place: 0.5, limit: '' } as const;
  if (Number.isNaN(scaling.low)) return { ...whole, texts: ['', 'no value', ''] };
  if (scaling.constant && !scaling.diverging) return { ...whole, texts: ['', numeral(scaling.middle), ''] };
  const [start, stop] = [scaling.position(scaling.least), scaling.position(scaling.greatest)];
  if (!scaling.even || scaling.constant || stop <= start || (start === 0 && stop === 1)) {
    return { ...whole, texts: [numeral(scaling.low), numeral(scaling.middle), numeral(scaling.high)] };
  }
  const inside = scaling.diverging && start < 0.5 && 0.5 < stop;
  const place = inside ? (0.5 - start) / (stop - start) : 0.5;
  const between = inside ? '0' : numeral((scaling.least + scaling.greatest) / 2);
  // Beside an end it would be written over the number there.
  const middle = place > 0.15 && place < 0.85 ? between : '';
  return {
    span: [start, stop],
    texts: [numeral(scaling.least), middle, numeral(scaling.greatest)],
    place,
    limit: scaling.diverging ? `±${numeral(scaling.high)}` : '',
  };
}

/** Hexadecimal digits of evenly spaced colours of a bar: RGB, with their cover after it where they lie on a picture. */
export function stopsOf(bar: Bar, name: Colour, covering: boolean, diverging: boolean, count = 33): string[] {
  const table = colourTable(name);
  const digits = (level: number): string => level.toString(16).padStart(2, '0');
  return Array.from({ length: count }, (_, index) => {
    const position = bar.span[0] + (index / (count - 1)) * (bar.span[1] - bar.span[0]);
    const at = 3 * Math.round(255 * position);
    const colour = [table[at], table[at + 1], table[at + 2]].map((level) => digits(level as number)).join('');
    return `#${colour}${covering ? digits(Math.round(255 * cover(position, diverging))) : ''}`;
  });
}
