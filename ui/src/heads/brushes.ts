/**
 * What is brushed in any of the four views, as one set of points: a point is a head on a picture. Brushes are read from
 * the first to the last: the next one keeps what is in both, adds, or takes away.
 *
 * A point's place is row · heads + head, with the row of the picture in the study and the head counted through all
 * blocks; both are frozen when a study is made, so a brush means the same points while the study grows.
 */

import { and, or, without, type Mask, type Operator as Click } from '../state/selection';
import { headParts, type HeadId } from '../state/view-state';
import { readNumbers } from './places';

export type Operator = 'and' | 'or' | 'not';

export type Brush = { readonly op: Operator } & (
  | { readonly kind: 'heads'; readonly heads: readonly HeadId[] }
  /** Heads that give at least `least` of their attention to patches `from` to `to` hops away. */
  | { readonly kind: 'hops'; readonly from: number; readonly to: number; readonly least: number }
  /** Heads whose patches give at least `least` of their attention to the class token. */
  | { readonly kind: 'class'; readonly least: number }
  /** Rows of the study, as `writeNumbers` gives them. */
  | { readonly kind: 'pictures'; readonly rows: string }
  | { readonly kind: 'cluster'; readonly cluster: number }
  /** Places of points, likewise. */
  | { readonly kind: 'points'; readonly points: string }
);
export type BrushKind = Brush['kind'];

/** The view that a brush is made in: a brush without shift or alt takes the place of the last one of its own view. */
const VIEWS: Record<BrushKind, string> = {
  heads: 'heads',
  hops: 'heads',
  class: 'heads',
  pictures: 'pictures',
  cluster: 'points',
  points: 'points',
};

export function operatorOf(event: { shiftKey: boolean; altKey: boolean }): Operator {
  if (event.altKey) return 'not';
  return event.shiftKey ? 'or' : 'and';
}

export function asClick(op: Operator): Click {
  return op === 'and' ? 'replace' : op === 'or' ? 'add' : 'remove';
}

/** The brushes with one more. */
export function brushed(brushes: readonly Brush[], next: Brush): Brush[] {
  if (next.op !== 'and') return [...brushes, next];
  return [...brushes.filter((one) => VIEWS[one.kind] !== VIEWS[next.kind]), next];
}

/** How many heads there are on how many rows, and which of the points there are. */
export interface Points {
  readonly rows: number;
  readonly heads: number;
  readonly all: Mask;
}

export interface Resolved {
  /** Heads, counted through all blocks. */
  readonly heads?: readonly number[];
  readonly rows?: ArrayLike<number>;
  readonly points?: ArrayLike<number>;
  /** All of it at once. */
  readonly mask?: Mask;
}

/** What is selected: all points where nothing is brushed. */
export function selectedPoints(
  points: Points,
  brushes: readonly Brush[],
  resolve: (brush: Brush) => Resolved,
): Mask {
  let selected: Mask = points.all;
  for (const brush of brushes) {
    const mask = and(maskOf(points, resolve(brush)), points.all);
    selected =
      brush.op === 'and'
        ? and(selected, mask)
        : brush.op === 'or'
          ? or(selected, mask)
          : without(selected, mask);
  }
  return selected;
}

export function emptyMask(points: Pick<Points, 'rows' | 'heads'>): Mask {
  return new Uint32Array(Math.ceil((points.rows * points.heads) / 32));
}

export function setBit(mask: Mask, place: number): void {
  mask[place >>> 5] = (mask[place >>> 5] ?? 0) | (1 << (place & 31));
}

export function maskOf(points: Points, chosen: Resolved): Mask {
  if (chosen.mask) return chosen.mask;
  const mask = emptyMask(points);
  const { rows, heads } = points;
  for (const head of chosen.heads ?? []) {
    for (let row = 0; row < rows; row += 1) setBit(mask, row * heads + head);
  }
  const some = chosen.rows ?? [];
  for (let index = 0; index < some.length; index += 1) {
    const row = some[index] as number;
    if (row < rows) for (let head = 0; head < heads; head += 1) setBit(mask, row * heads + head);
  }
  const places = chosen.points ?? [];
  for (let index = 0; index < places.length; index += 1) {
    const place = places[index] as number;
    if (place < rows * heads) setBit(mask, place);
  }
  return mask;
}

/** How many points of each head and of each row a mask has. */
export function countsOf(
  points: Pick<Points, 'rows' | 'heads'>,
  mask: Mask,
): { heads: Uint32Array; rows: Uint32Array; total: number } {
  const heads = new Uint32Array(points.heads);
  const rows = new Uint32Array(points.rows);
  let total = 0;
  for (let word = 0; word < mask.length; word += 1) {
    let rest = mask[word] as number;
    while (rest) {
      const place = word * 32 + (31 - Math.clz32(rest & -rest));
      const row = Math.floor(place / points.heads);
      heads[place - row * points.heads] = (heads[place - row * points.heads] as number) + 1;
      rows[row] = (rows[row] as number) + 1;
      total += 1;
      rest &= rest - 1;
    }
  }
  return { heads, rows, total };
}

/** The places of a mask, in their order. */
export function* placesOf(mask: Mask): Generator<number> {
  for (let word = 0; word < mask.length; word += 1) {
    let rest = mask[word] as number;
    while (rest) {
      yield word * 32 + (31 - Math.clz32(rest & -rest));
      rest &= rest - 1;
    }
  }
}

/** What a brush names by itself; the others need numbers of the study. */
export function namedBy(brush: Brush, placeOf: (head: HeadId) => number | null): Resolved | null {
  switch (brush.kind) {
    case 'heads':
      return { heads: brush.heads.map(placeOf).filter((place) => place !== null) };
    case 'pictures':
      return { rows: readNumbers(brush.rows) ?? [] };
    case 'points':
      return { points: readNumbers(brush.points) ?? [] };
    default:
      return null;
  }
}

/** Places of heads counted through all blocks, each with as many as the largest has. */
export function headPlace(id: HeadId, heads: readonly number[]): number | null {
  const { block, head } = headParts(id);
  const most = Math.max(0, ...heads);
  return head < (heads[block] ?? 0) ? block * most + head : null;
}
