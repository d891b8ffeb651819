import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { apart } from '../src/plots/finding';

const SIDE = 20;
const place = fc.tuple(fc.integer({ min: -30, max: 330 }), fc.integer({ min: -30, max: 230 }));

describe('small pictures at points', () => {
  test('lie in the frame, over no other one, and none is left out without a reason', () => {
    fc.assert(
      fc.property(fc.array(place, { maxLength: 60 }), (places) => {
        const all = places.map((_, point) => point);
        const found = apart(all, (point) => places[point] as [number, number], 300, 200, SIDE, 1000);
        const inside = ([x, y]: readonly [number, number]): boolean =>
          x >= SIDE / 2 && y >= SIDE / 2 && x <= 300 - SIDE / 2 && y <= 200 - SIDE / 2;
        const over = (one: number, other: number): boolean => {
          const [a, b] = [places[one] as [number, number], places[other] as [number, number]];
          return Math.abs(a[0] - b[0]) < SIDE && Math.abs(a[1] - b[1]) < SIDE;
        };
        // Literally: one after the other, each that fits.
        const expected: number[] = [];
        for (const point of all) {
          if (inside(places[point] as [number, number]) && !expected.some((other) => over(point, other))) {
            expected.push(point);
          }
        }
        expect(found).toEqual(expected);
      }),
    );
  });

  test('are so many at most, the first of the order', () => {
    expect(apart([3, 1, 2], (point) => [50 * point, 50], 300, 200, SIDE, 2)).toEqual([3, 1]);
  });
});
