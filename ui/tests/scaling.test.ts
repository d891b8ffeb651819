import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { barOf, stopsOf } from '../src/colour/bar';
import { cover, pixelsOf } from '../src/colour/blending';
import { scaleOf } from '../src/colour/scaling';
import { colourTable, suited } from '../src/colour/tables';
import type { Colour, Curve } from '../src/state/view-state';

type Written = number | 'nan' | 'inf' | '-inf';
interface Case {
  name: string;
  curve: Curve;
  signed: boolean;
  colour: Colour;
  values: Written[][];
  positions: Written[][];
  low: Written;
  middle: Written;
  high: Written;
  constant: boolean;
  invalid: number;
  opaque: number[];
  covering: number[];
  bar: { span: [number, number]; texts: string[]; place: number; stops: string[] };
}

const number = (written: Written): number =>
  typeof written === 'number' ? written : { nan: NaN, inf: Infinity, '-inf': -Infinity }[written];
const cases = JSON.parse(readFileSync(new URL('./fixtures/scaling.json', import.meta.url), 'utf8')) as Case[];

describe.each(cases)('$name, $curve, signed $signed, as Python scales it', (one) => {
  const values = Float32Array.from(one.values.flat().map(number));
  const scaling = scaleOf(values, one.curve, one.signed);

  it('has the same ends, middle and marks', () => {
    for (const end of ['low', 'middle', 'high'] as const) {
      const expected = number(one[end]);
      if (Number.isNaN(expected)) expect(scaling[end]).toBeNaN();
      else expect(scaling[end]).toBeCloseTo(expected, 6);
    }
    expect(scaling.constant).toBe(one.constant);
    expect(scaling.invalid).toBe(one.invalid);
  });

  it('puts every value at the same place', () => {
    const expected = one.positions.flat().map(number);
    values.forEach((value, index) => {
      const place = scaling.position(value);
      if (Number.isNaN(expected[index])) expect(place).toBeNaN();
      else expect(place).toBeCloseTo(expected[index] as number, 5);
    });
  });

  it('gives the same pixels', () => {
    const table = colourTable(one.colour);
    const apart = (made: ArrayLike<number>, expected: readonly number[]): number =>
      Math.max(...expected.map((level, index) => Math.abs(level - (made[index] as number))));
    const opaque = pixelsOf(values, scaling, table, false).filter((_, index) => index % 4 !== 3);
    // float64 here, float32 there: a position beside a border may take the neighbouring colour.
    expect(apart(opaque, one.opaque)).toBeLessThanOrEqual(4);
    expect(apart(pixelsOf(values, scaling, table, true), one.covering)).toBeLessThanOrEqual(4);
  });
});

describe('a bar', () => {
  const levels = (stop: string): number[] =>
    (stop.replace(/[#,]/g, '').match(/../g) ?? []).map((digits) => parseInt(digits, 16));

  it.each(cases)('of $name, $curve, signed $signed is that of every other drawing', (one) => {
    const scaling = scaleOf(Float32Array.from(one.values.flat().map(number)), one.curve, one.signed);
    const bar = barOf(scaling);
    expect(bar.texts).toEqual(one.bar.texts);
    expect(bar.place).toBeCloseTo(one.bar.place, 5);
    bar.span.forEach((end, index) => expect(end).toBeCloseTo(one.bar.span[index] as number, 5));
    const made = stopsOf(bar, one.colour, true, one.signed).map(levels);
    one.bar.stops.map(levels).forEach((expected, stop) => {
      const apart = expected.map((level, index) => Math.abs(level - (made[stop]?.[index] as number)));
      expect(Math.max(...apart)).toBeLessThanOrEqual(4);
    });
  });

  it('runs over the values and names the limit of the colours where they do not reach it', () => {
    const bar = barOf(scaleOf(Float32Array.from([-1, 0, 3]), 'linear', true));
    expect(bar.texts).toEqual(['−1', '0', '3']);
    expect(bar.place).toBeCloseTo(1 / 4, 6);
    expect(bar.span[0]).toBeCloseTo(1 / 3, 6);
    expect(bar.span[1]).toBe(1);
    expect(bar.limit).toBe('±3');
    expect(barOf(scaleOf(Float32Array.from([-3, 3]), 'linear', true)).limit).toBe('');
    expect(barOf(scaleOf(Float32Array.from([1, 3]), 'linear', false)).limit).toBe('');
  });
});

describe('a scale', () => {
  const maps = fc.float32Array({
    minLength: 1,
    maxLength: 60,
    noNaN: true,
    noDefaultInfinity: true,
    min: -1e6,
    max: 1e6,
  });

  it('keeps the order of the values', () => {
    fc.assert(
      fc.property(
        maps,
        fc.constantFrom<Curve>('linear', 'sqrt', 'rank'),
        fc.boolean(),
        (values, curve, signed) => {
          const { position } = scaleOf(values as Float32Array<ArrayBuffer>, curve, signed);
          const sorted = Array.from(values)
            .sort((a, b) => a - b)
            .map(position);
          expect(sorted.every((place) => place >= 0 && place <= 1)).toBe(true);
          expect(sorted.every((place, index) => index === 0 || place >= (sorted[index - 1] as number))).toBe(
            true,
          );
        },
      ),
    );
  });

  it('has zero in the middle for signed values', () => {
    fc.assert(
      fc.property(maps, (values) => {
        expect(scaleOf(values as Float32Array<ArrayBuffer>, 'linear', true).position(0)).toBe(0.5);
      }),
    );
  });
});

describe('covering', () => {
  it('is nothing at nothing and grows to both ends', () => {
    expect([cover(0, false), cover(1, false), cover(0.5, true), cover(0, true), cover(1, true)]).toEqual([
      0, 1, 0, 1, 1,
    ]);
    expect(cover(NaN, false)).toBe(0);
  });
});

describe('colours', () => {
  it('suit the map, whatever was asked for', () => {
    expect(suited('purple-orange', false)).toBe('viridis');
    expect(suited('cividis', true)).toBe('blue-red');
    expect(suited('magma', false)).toBe('magma');
    expect(suited(null, true)).toBe('blue-red');
  });
});
