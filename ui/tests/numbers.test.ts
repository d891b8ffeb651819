import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bytes, difference, fixed, numeral, percent, seconds } from '../src/format/numbers';

const written = JSON.parse(readFileSync(new URL('./fixtures/numbers.json', import.meta.url), 'utf8')) as {
  numeral: [number, string][];
  fixed: [number, number, string][];
};

describe('numbers', () => {
  it.each(written.numeral)('%d is written as Python writes it', (value, text) =>
    expect(numeral(value)).toBe(text),
  );

  it.each(written.fixed)('%d in a column up to %d, too', (value, span, text) =>
    expect(fixed(value, span)).toBe(text),
  );

  it('have words where there is none', () => {
    expect([numeral(NaN), numeral(null), numeral(Infinity), numeral(-Infinity)]).toEqual([
      'no value',
      'no value',
      '∞',
      '−∞',
    ]);
  });

  it('stand as shares, differences, bytes and times', () => {
    expect(percent(0.9134)).toBe('91.3 %');
    expect([difference(0.0311), difference(-0.29), difference(0)]).toEqual(['+0.031', '−0.290', '±0.000']);
    expect([bytes(0), bytes(1_500), bytes(1_000_000_000)]).toEqual(['0 B', '1.5 kB', '1 GB']);
    expect([seconds(0.0421), seconds(3.4), seconds(600)]).toEqual(['42 ms', '3.4 s', '10 min']);
  });
});
