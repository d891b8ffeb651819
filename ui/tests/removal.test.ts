import { describe, expect, test } from 'vitest';
import { areaOf, curvesOf, evenly, lastWithin, type Removal } from '../src/heads/removal';

const metric = { name: 'js_divergence', title: 'divergence', family: 'output', signed: false };
const removal: Removal = {
  orders: [
    { ...metric, largest_first: false },
    { ...metric, largest_first: true },
  ],
  random: 3,
  removed: [0, 2, 6],
  answers: ['probability', 'accuracy'],
  pictures: 4,
  labelled: true,
  mean: Float32Array.from({ length: 18 }, (_, at) => at),
  low: Float32Array.from({ length: 18 }, (_, at) => at - 1),
  high: Float32Array.from({ length: 18 }, (_, at) => at + 1),
};

describe('curves over removed heads', () => {
  test('are cut from answers × orders × steps, those at random last', () => {
    const [up, down, random] = curvesOf(removal, 'accuracy');
    expect(up).toMatchObject({ metric: 'js_divergence', turned: false, mean: [9, 10, 11] });
    expect(down).toMatchObject({ metric: 'js_divergence', turned: true, mean: [12, 13, 14] });
    expect(random).toMatchObject({ metric: null, mean: [15, 16, 17], low: [14, 15, 16], high: [16, 17, 18] });
    expect(curvesOf(removal, 'nothing')).toEqual([]);
    expect(curvesOf({ ...removal, random: 0 }, 'probability')).toHaveLength(2);
  });

  test('have a mean height by trapezoids', () => {
    expect(areaOf([0, 2, 6], [1, 1, 1])).toBe(1);
    expect(areaOf([0, 2, 6], [1, 0, 0])).toBeCloseTo(1 / 6);
  });

  test('tell the last number before too much is lost', () => {
    expect(lastWithin([0, 3, 6, 9], [0.8, 0.8, 0.71, 0.9], 0.9)).toBe(3);
    expect(lastWithin([0, 3, 6], [0.8, 0.8, 0.8], 0.9)).toBe(6);
    expect(lastWithin([0, 3, 6], [0.8, 0.1, 0.8], 0.9)).toBe(0);
    expect(lastWithin([0, 3], [NaN, NaN], 0.9)).toBe(0);
  });

  test('are of rows that are spread evenly', () => {
    expect(evenly([1, 2, 3], 4)).toEqual([1, 2, 3]);
    expect(evenly([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 4)).toEqual([0, 2, 5, 7]);
  });
});
