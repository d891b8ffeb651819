/** The algebra of brushes against sets written out, and numbers as text. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  brushed,
  countsOf,
  emptyMask,
  headPlace,
  maskOf,
  selectedPoints,
  setBit,
  type Brush,
  type Operator,
  type Resolved,
} from '../src/heads/brushes';
import { ranks, rowsText } from '../src/heads/numbers-of-heads';
import { readNumbers, writeNumbers } from '../src/heads/places';
import { hasBit } from '../src/state/selection';

const numbers = fc.uniqueArray(fc.nat(3000), { maxLength: 200 }).map((found) => found.sort((a, b) => a - b));

describe('numbers as text', () => {
  it('come back', () => {
    fc.assert(
      fc.property(numbers, (found) => {
        expect([...(readNumbers(writeNumbers(found)) ?? [])]).toEqual(found);
      }),
    );
    expect([...(readNumbers(writeNumbers([5, 200_000, 200_001])) ?? [])]).toEqual([5, 200_000, 200_001]);
  });

  it('refuse what is no such text', () => {
    for (const text of ['*', 'gA', 'AQ', '_____w8']) expect(readNumbers(text)).toBeNull();
    expect([...(readNumbers('') ?? [1])]).toEqual([]);
  });

  it('are short for runs', () => {
    expect(writeNumbers(Array.from({ length: 70_000 }, (_, at) => at)).length).toBeLessThan(8);
  });

  it('are rows for the server', () => {
    expect(rowsText([0, 1, 2, 3, 7, 9, 10])).toBe('0-3,7,9-10');
    expect(rowsText([])).toBe('');
  });
});

const [ROWS, HEADS] = [7, 11];
const all = emptyMask({ rows: ROWS, heads: HEADS });
// Row 3 is not computed, head 10 does not exist.
for (let row = 0; row < ROWS; row += 1) {
  for (let head = 0; head < HEADS - 1; head += 1) if (row !== 3) setBit(all, row * HEADS + head);
}
const points = { rows: ROWS, heads: HEADS, all };
const domain = new Set(
  Array.from({ length: ROWS * HEADS }, (_, place) => place).filter((place) => hasBit(all, place)),
);

const chosen: fc.Arbitrary<Resolved> = fc.oneof(
  fc.record({ heads: fc.uniqueArray(fc.nat(HEADS - 1)) }),
  fc.record({ rows: fc.uniqueArray(fc.nat(ROWS + 3)) }),
  fc.record({ points: fc.uniqueArray(fc.nat(ROWS * HEADS + 30)) }),
);

function setOf({ heads = [], rows, points: places }: Resolved): Set<number> {
  const kept = (place: number): boolean =>
    heads.includes(place % HEADS) ||
    Array.from(rows ?? []).includes(Math.floor(place / HEADS)) ||
    Array.from(places ?? []).includes(place);
  return new Set([...domain].filter(kept));
}

describe('brushes', () => {
  it('combine as sets do, from the first to the last', () => {
    const step = fc.tuple(fc.constantFrom<Operator>('and', 'or', 'not'), chosen);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 6 }), (steps) => {
        const brushes = steps.map(([op], cluster): Brush => ({ op, kind: 'cluster', cluster }));
        const mask = selectedPoints(
          points,
          brushes,
          (brush) => steps[(brush as { cluster: number }).cluster]?.[1] ?? {},
        );
        let expected = new Set(domain);
        for (const [op, resolved] of steps) {
          const set = setOf(resolved);
          if (op === 'and') expected = new Set([...expected].filter((place) => set.has(place)));
          if (op === 'or') expected = new Set([...expected, ...set]);
          if (op === 'not') expected = new Set([...expected].filter((place) => !set.has(place)));
        }
        const found = new Set([...Array(ROWS * HEADS).keys()].filter((place) => hasBit(mask, place)));
        expect(found).toEqual(expected);
        const counts = countsOf(points, mask);
        expect(counts.total).toBe(expected.size);
        for (let head = 0; head < HEADS; head += 1) {
          expect(counts.heads[head]).toBe([...expected].filter((place) => place % HEADS === head).length);
        }
        for (let row = 0; row < ROWS; row += 1) {
          expect(counts.rows[row]).toBe(
            [...expected].filter((place) => Math.floor(place / HEADS) === row).length,
          );
        }
      }),
    );
  });

  it('mean the same points when more pictures are there', () => {
    fc.assert(
      fc.property(chosen, (resolved) => {
        const more = { rows: ROWS + 5, heads: HEADS };
        const grown = {
          ...more,
          all: maskOf({ ...more, all: emptyMask(more) }, { rows: [...Array(more.rows).keys()] }),
        };
        const [few, many] = [maskOf(points, resolved), maskOf(grown, resolved)];
        for (let place = 0; place < ROWS * HEADS; place += 1)
          expect(hasBit(many, place)).toBe(hasBit(few, place));
      }),
    );
  });

  it('take the place of the last one of their view, unless shift or alt is held', () => {
    const heads: Brush = { op: 'and', kind: 'heads', heads: ['0.1'] };
    const lasso: Brush = { op: 'and', kind: 'points', points: '' };
    expect(brushed([heads, lasso], { op: 'and', kind: 'hops', from: 0, to: 2, least: 0.5 })).toEqual([
      lasso,
      { op: 'and', kind: 'hops', from: 0, to: 2, least: 0.5 },
    ]);
    expect(brushed([heads], { op: 'or', kind: 'heads', heads: ['0.2'] })).toHaveLength(2);
    expect(brushed([heads], { op: 'not', kind: 'cluster', cluster: 1 })).toHaveLength(2);
  });

  it('know which heads there are where blocks have unequally many', () => {
    expect(headPlace('1.2', [2, 3])).toBe(5);
    expect(headPlace('0.2', [2, 3])).toBeNull();
    expect(headPlace('7.0', [2, 3])).toBeNull();
  });
});

describe('ranks', () => {
  it('go from 0 to 1, share ties and leave out what is no number', () => {
    expect([...ranks([3, NaN, 1, 3])]).toEqual([0.75, NaN, 0, 0.75]);
  });
});
