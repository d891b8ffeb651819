import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  and,
  combine,
  count,
  equal,
  isEmpty,
  operatorOf,
  or,
  Universe,
  without,
} from '../src/state/selection';

/** Masks and plain sets side by side: what holds for sets must hold for masks. */
const worlds = fc.uniqueArray(fc.string(), { minLength: 0, maxLength: 80 }).chain((ids) =>
  fc.record({
    ids: fc.constant(ids),
    first: fc.subarray(ids),
    second: fc.subarray(ids),
    stray: fc.string(),
  }),
);

describe('selection as bit masks', () => {
  it('agrees with sets in every operation', () => {
    fc.assert(
      fc.property(worlds, ({ ids, first, second }) => {
        const universe = new Universe(ids);
        const [a, b] = [universe.of(first), universe.of(second)];
        const [one, two] = [new Set(first), new Set(second)];
        const expected = (test: (id: string) => boolean): string[] => ids.filter(test);
        expect(universe.idsOf(and(a, b))).toEqual(expected((id) => one.has(id) && two.has(id)));
        expect(universe.idsOf(or(a, b))).toEqual(expected((id) => one.has(id) || two.has(id)));
        expect(universe.idsOf(without(a, b))).toEqual(expected((id) => one.has(id) && !two.has(id)));
        expect(universe.idsOf(universe.not(a))).toEqual(expected((id) => !one.has(id)));
        expect(count(a)).toBe(one.size);
        expect(isEmpty(a)).toBe(one.size === 0);
        expect(equal(a, b)).toBe(one.size === two.size && first.every((id) => two.has(id)));
        expect(ids.every((id) => universe.has(a, id) === one.has(id))).toBe(true);
      }),
    );
  });

  it('obeys the laws of sets, also beyond 32 ids', () => {
    fc.assert(
      fc.property(worlds, ({ ids, first, second }) => {
        const universe = new Universe(ids);
        const [a, b, all] = [universe.of(first), universe.of(second), universe.all()];
        expect(equal(or(a, universe.not(a)), all)).toBe(true);
        expect(isEmpty(and(a, universe.not(a)))).toBe(true);
        expect(equal(universe.not(or(a, b)), and(universe.not(a), universe.not(b)))).toBe(true);
        expect(count(or(a, b))).toBe(count(a) + count(b) - count(and(a, b)));
        expect(count(all)).toBe(ids.length);
      }),
    );
  });

  it('leaves out ids that are not of the universe', () => {
    const universe = new Universe(['a', 'b', 'a']);
    expect(universe.size).toBe(2);
    expect(universe.idsOf(universe.of(['b', 'c']))).toEqual(['b']);
  });

  it('replaces, adds with shift, removes with alt', () => {
    const universe = new Universe(['a', 'b', 'c']);
    const [selected, brushed] = [universe.of(['a', 'b']), universe.of(['b', 'c'])];
    const result = (keys: { shiftKey: boolean; altKey: boolean }): string[] =>
      universe.idsOf(combine(selected, brushed, operatorOf(keys)));
    expect(result({ shiftKey: false, altKey: false })).toEqual(['b', 'c']);
    expect(result({ shiftKey: true, altKey: false })).toEqual(['a', 'b', 'c']);
    expect(result({ shiftKey: false, altKey: true })).toEqual(['a']);
  });

  it('never changes the masks it is given', () => {
    const universe = new Universe(['a', 'b']);
    const [a, b] = [universe.of(['a']), universe.of(['b'])];
    combine(a, b, 'replace')[0] = 0;
    or(a, b);
    expect([universe.idsOf(a), universe.idsOf(b)]).toEqual([['a'], ['b']]);
  });
});
