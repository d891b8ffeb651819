/** Ten colours that people who see few colours tell apart, and words and tables for them. */

import { colourTable } from '../colour/tables';

export const CATEGORIES = [
  '#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#8a7500', '#7a5bb5', '#7f7f7f', '#a0522d',
] as const; // prettier-ignore

export function category(index: number): string {
  return CATEGORIES[index % CATEGORIES.length] as string;
}

/** RGB one after the other. */
export const CATEGORY_TABLE = Uint8Array.from(
  CATEGORIES.flatMap((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))),
);

/** 256 steps of a scale. */
export function scaleTable(): Uint8Array {
  return colourTable('viridis');
}
