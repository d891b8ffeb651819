import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Picture } from '../src/data/source';
import { binned, classCounts, masksOf, passing, sorted } from '../src/library/filtering';
import { moved, windowOf } from '../src/library/virtual-grid';
import { hasBit, Universe } from '../src/state/selection';
import { NO_FILTERS, type Filters, type SortKey } from '../src/state/view-state';

const picture = (id: string, more: Partial<Picture>): Picture => ({
  id,
  name: `${id}.jpg`,
  label: null,
  prediction: null,
  confidence: null,
  entropy: null,
  row: null,
  drop: null,
  dropHead: null,
  correct: null,
  added: false,
  skipped: null,
  ...more,
});
const pictures = [
  picture('a', { label: 'heron', prediction: 'heron', confidence: 0.9, entropy: 0.5, correct: true }),
  picture('b', { label: 'heron', prediction: 'crane', confidence: 0.4, entropy: 2, correct: false }),
  picture('c', { label: 'crane', prediction: 'crane', confidence: 0.6, entropy: 1, correct: true }),
  picture('d', { prediction: 'crane', confidence: 0.2 }),
];
const universe = new Universe(pictures.map((one) => one.id));
const left = (filters: Partial<Filters>, but: keyof Filters | null = null): string[] =>
  universe.idsOf(passing(masksOf(pictures, universe, { ...NO_FILTERS, ...filters }), but));

describe('filters', () => {
  it('let everything through at first', () => expect(left({})).toEqual(['a', 'b', 'c', 'd']));

  it('combine by and', () => {
    expect(left({ class: ['heron'] })).toEqual(['a', 'b']);
    expect(left({ class: ['heron', 'crane'], correct: 'wrong' })).toEqual(['b']);
    expect(left({ confidence: [0.4, 0.6] })).toEqual(['b', 'c']);
    expect(left({ entropy: [0, 5] })).toEqual(['a', 'b', 'c']);
    expect(left({ text: ' CRANE' })).toEqual(['b', 'c', 'd']);
  });

  it('leave out their own filter where a histogram asks', () => {
    expect(left({ class: ['heron'], confidence: [0.8, 1] }, 'class')).toEqual(['a']);
    expect(left({ class: ['heron'], confidence: [0.8, 1] }, 'confidence')).toEqual(['a', 'b']);
  });

  it('count classes by what the others leave', () => {
    const mask = passing(masksOf(pictures, universe, { ...NO_FILTERS, correct: 'right' }), 'class');
    expect(classCounts(pictures, (place) => hasBit(mask, place))).toEqual([
      { name: 'crane', all: 2, left: 1 },
      { name: 'heron', all: 2, left: 1 },
    ]);
  });
});

describe('sorting', () => {
  const order = (key: 'confidence' | 'entropy' | 'label' | 'order', descending: boolean): string =>
    sorted(pictures, [0, 1, 2, 3], { key, descending })
      .map((place) => pictures[place]?.id)
      .join('');

  it('turns round, with what has no value last either way', () => {
    expect(order('confidence', false)).toBe('dbca');
    expect(order('confidence', true)).toBe('acbd');
    expect(order('entropy', false)).toBe('acbd');
    expect(order('entropy', true)).toBe('bcad');
    expect(order('order', true)).toBe('dcba');
    expect(order('label', false)).toBe('cabd');
  });

  it('follows what the study holds: the largest drop, and likeness by row', () => {
    const studied = [
      picture('a', { row: 2, drop: 0.1 }),
      picture('b', { row: 0, drop: 0.6 }),
      picture('c', { row: 1 }),
      picture('mine', { added: true }),
    ];
    const ids = (
      key: SortKey,
      descending: boolean,
      similarity: Float32Array<ArrayBuffer> | null = null,
    ): string[] =>
      sorted(studied, [0, 1, 2, 3], { key, descending }, similarity).map((place) => studied[place]?.id ?? '');
    expect(ids('drop', true)).toEqual(['b', 'a', 'c', 'mine']);
    expect(ids('drop', false)).toEqual(['a', 'b', 'c', 'mine']);
    const similarity = Float32Array.of(-0.5, NaN, 1); // by row: b, c, a
    expect(ids('similarity', true, similarity)).toEqual(['a', 'b', 'c', 'mine']);
    expect(ids('similarity', false, similarity)).toEqual(['b', 'a', 'c', 'mine']);
    expect(ids('similarity', true)).toEqual(['a', 'b', 'c', 'mine']); // not there yet: as they came
  });

  it('keeps every picture once and sorts the known ones, of any size', () => {
    const many = fc.array(fc.option(fc.double({ noNaN: true }), { nil: null }), { maxLength: 60 });
    fc.assert(
      fc.property(many, fc.boolean(), (values, descending) => {
        const given = values.map((entropy, place) => picture(String(place), { entropy }));
        const places = given.map((_, place) => place);
        const order = sorted(given, places, { key: 'entropy', descending });
        expect([...order].sort((a, b) => a - b)).toEqual(places);
        const known = order.map((place) => values[place] ?? null).filter((value) => value !== null);
        expect(known).toEqual([...known].sort((a, b) => (descending ? b - a : a - b)));
        expect(order.slice(known.length).every((place) => values[place] === null)).toBe(true);
      }),
    );
  });
});

describe('histograms', () => {
  it('hold every value once, the highest in the last bin', () => {
    const values = fc.array(fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: null }), {
      maxLength: 50,
    });
    fc.assert(
      fc.property(values, (given) => {
        const bins = binned(given, (place) => place % 2 === 0, 0, 1, 8);
        const known = given.filter((value) => value !== null).length;
        expect(bins.reduce((sum, bin) => sum + bin.all, 0)).toBe(known);
        expect(bins.every((bin) => bin.left <= bin.all)).toBe(true);
      }),
    );
    expect(binned([1], () => true, 0, 1, 4).map((bin) => bin.all)).toEqual([0, 0, 0, 1]);
  });
});

describe('the virtual grid', () => {
  it('draws what is in sight and nothing far from it', () => {
    fc.assert(
      fc.property(
        fc.nat(50_000),
        fc.nat(2000),
        fc.nat(2000),
        fc.nat(800_000),
        (count, width, height, scrolled) => {
          const cell = { width: 100, height: 120 };
          const seen = windowOf(count, width, height, scrolled, cell);
          const first = Math.floor(scrolled / cell.height) * seen.columns;
          const last = Math.min(count, Math.ceil((scrolled + height) / cell.height) * seen.columns);
          expect(seen.from <= Math.min(count, first)).toBe(true);
          expect(seen.to >= Math.min(last, count) || first >= count).toBe(true);
          expect(seen.to - seen.from).toBeLessThanOrEqual(
            (Math.ceil(height / cell.height) + 6) * seen.columns,
          );
          expect(seen.height).toBe(Math.ceil(count / seen.columns) * cell.height);
        },
      ),
    );
  });

  it('is walked with the arrow keys', () => {
    expect(moved(5, 'ArrowDown', 4, 20)).toBe(9);
    expect(moved(1, 'ArrowUp', 4, 20)).toBe(0);
    expect(moved(18, 'End', 4, 20)).toBe(19);
    expect(moved(5, 'a', 4, 20)).toBeNull();
  });
});
