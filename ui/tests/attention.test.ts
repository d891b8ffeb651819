import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { strongest, sums, tokenName, valuesOf } from '../src/drawer/matrix';
import { nearestFirst } from '../src/explain/attention-by-block.svelte';
import { compared } from '../src/explain/compared-prediction';
import { neighbour, patchAt, samePlace, ticks } from '../src/explain/grid-marks';
import { flowMap, flowPrefix, mapOfRow, meanRow, sharedScale } from '../src/explain/shown-map';
import { readOption, withOption } from '../src/explain/option-values';
import type { MapResult, MethodOption } from '../src/data/source';

const grid = { rows: 2, columns: 3 };

describe('an attention matrix', () => {
  // Three tokens, the first a class token; every row sums to 1.
  const values = Float32Array.of(0.5, 0.3, 0.2, 0.1, 0.6, 0.3, 0.25, 0.5, 0.25);

  it('is read from 8 bits and a scale per row', () => {
    const read = valuesOf({
      tokens: 2,
      prefix: 0,
      levels: Uint8Array.of(255, 0, 51, 255),
      scale: Float32Array.of(0.5, 1),
    });
    expect(Array.from(read)).toEqual([0.5, 0, Math.fround(0.2), 1]);
  });

  it('has sums over patches alone', () => {
    const { rows, columns } = sums(values, 3, 1);
    expect(Array.from(rows).map((sum) => Number(sum.toFixed(5)))).toEqual([0.5, 0.9, 0.75]);
    expect(Array.from(columns).map((sum) => Number(sum.toFixed(5)))).toEqual([0.35, 1.1, 0.55]);
  });

  it('tells its strongest pairs, of all tokens or of one', () => {
    const pairs = (token: number | null, direction: 'out' | 'in', top = 9, least = 0, first = 0): string[] =>
      strongest(values, 3, first, token, direction, top, least).map(({ query, key }) => `${query}>${key}`);
    expect(pairs(null, 'out', 2)).toEqual(['2>1', '0>1']);
    expect(pairs(1, 'out')).toEqual(['1>2', '1>0']);
    expect(pairs(1, 'in')).toEqual(['2>1', '0>1']);
    expect(pairs(null, 'out', 9, 0.3)).toEqual(['2>1', '0>1', '1>2']);
    expect(pairs(null, 'out', 9, 0, 1)).toEqual(['2>1', '1>2']);
    expect(pairs(1, 'in', 9, 0, 1)).toEqual(['2>1']);
  });

  it('names its tokens', () => {
    expect(tokenName(0, 1, ['class token'], grid)).toBe('class token');
    expect(tokenName(5, 1, ['class token'], grid)).toBe('patch (1, 1)');
  });
});

describe('rows of attention', () => {
  const rows = {
    grid,
    heads: 2,
    tokens: 7,
    prefix: 1,
    values: Float32Array.from({ length: 14 }, (_, index) => index),
  };

  it('are averaged over the heads that are shown, all when none is', () => {
    expect(Array.from(meanRow(rows, [1]))).toEqual([7, 8, 9, 10, 11, 12, 13]);
    expect(meanRow(rows, [])[0]).toBe(3.5);
  });

  it('stand on the grid, the prefix tokens beside it', () => {
    const map = mapOfRow(meanRow(rows, [0]), rows, ['class token']);
    expect(Array.from(map.values)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(map.prefix).toEqual([{ name: 'class token', value: 0, share: 0 }]);
  });

  it('have a cell for each prefix token, with its share of the whole', () => {
    const two = { ...rows, tokens: 8, prefix: 2, values: Float32Array.of(1, 3, 0, 0, 0, 0, 0, 4) };
    const map = mapOfRow(two.values, two, ['class token', 'register 1']);
    expect(map.prefix).toEqual([
      { name: 'class token', value: 1, share: 0.125 },
      { name: 'register 1', value: 3, share: 0.375 },
    ]);
  });
});

describe('a flow', () => {
  const result: MapResult = {
    grid,
    map: new Float32Array(6),
    flow: { of: 'block', count: 2, first: 3, values: Float32Array.from({ length: 12 }, (_, index) => index) },
    prefix: [],
    extent: [0, 0, 1, 1],
    signed: false,
    target: 'heron',
    score: 1,
    notes: [],
  };

  it('begins at its first block', () => {
    expect(flowMap(result, 2)).toBeNull();
    expect(Array.from(flowMap(result, 4) ?? [])).toEqual([6, 7, 8, 9, 10, 11]);
    expect(flowMap(result, 5)).toBeNull();
  });

  it('shares its scale as asked', () => {
    const [own, other] = [flowMap(result, 3), flowMap(result, 4)];
    if (!own || !other) throw new Error('the flow has both blocks');
    expect(sharedScale(own, [own], [own, other], 'map', 'linear', false).high).toBe(5);
    expect(sharedScale(own, [own], [own, other], 'global', 'linear', false).high).toBe(11);
  });

  it('tells the tokens outside the grid block by block, or not at all', () => {
    const token = { name: 'class token', share: 0.4, value: 2 };
    const told = { ...result, prefix: [{ ...token, flow: [5, 51] }] };
    const cells = flowMap(told, 4) ?? new Float32Array();
    expect(flowPrefix(told, 4, cells)).toEqual([{ name: 'class token', value: 51, share: 0.5 }]);
    const untold = { ...result, prefix: [{ ...token, flow: null }] };
    expect(flowPrefix(untold, 4, cells)).toEqual([]);
  });

  it('is loaded from the block that is looked at outwards', () => {
    expect(nearestFirst(5, 3)).toEqual([3, 2, 4, 1, 0]);
  });
});

describe('places on a grid', () => {
  it('are found under the pointer and by arrow keys', () => {
    expect(patchAt(0.99, 0.1, grid)).toBe(2);
    expect(patchAt(1, 0.1, grid)).toBeNull();
    expect(neighbour(2, 'ArrowRight', grid)).toBe(2);
    expect(neighbour(2, 'ArrowDown', grid)).toBe(5);
    expect(neighbour(2, 'x', grid)).toBeNull();
  });

  it('lie at the same place on another grid', () => {
    const fine = { rows: 4, columns: 6 };
    expect([0, 5].map((patch) => samePlace(patch, grid, fine))).toEqual([7, 23]);
    expect([0, 7, 23].map((patch) => samePlace(patch, fine, grid))).toEqual([0, 0, 5]);
    fc.assert(
      fc.property(fc.nat(5), (patch) => {
        expect(samePlace(samePlace(patch, grid, fine), fine, grid)).toBe(patch);
      }),
    );
  });

  it('have few enough numbers to be read', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), (count) => {
        expect(ticks(count).length).toBeLessThanOrEqual(8);
      }),
    );
    expect(ticks(14)).toEqual([0, 2, 4, 6, 8, 10, 12]);
  });
});

describe('predictions', () => {
  it('stand side by side, class by class', () => {
    const score = (index: number, probability: number) => ({
      class: index,
      name: `c${index}`,
      probability,
      logit: 0,
    });
    const rows = compared({
      top: [score(1, 0.9), score(2, 0.1)],
      label: null,
      entropy: null,
      without: { top: [score(1, 0.3), score(2, 0.1), score(7, 0.6)], entropy: null },
    });
    expect(rows.map(({ class: index, before, after }) => [index, before, after])).toEqual([
      [1, 0.9, 0.3],
      [2, 0.1, 0.1],
      [7, null, 0.6],
    ]);
  });
});

describe('options', () => {
  const option = (more: Partial<MethodOption>): MethodOption => ({
    name: 'alpha',
    kind: 'number',
    default: 1,
    low: 0,
    high: 2,
    step: null,
    choices: [],
    optional: false,
    accepts: '',
    ...more,
  });

  it('take what is declared and nothing else', () => {
    expect(readOption(option({}), '1.5')).toBe(1.5);
    expect(readOption(option({}), '3')).toBeUndefined();
    expect(readOption(option({ kind: 'integer' }), '1.5')).toBeUndefined();
    expect(readOption(option({}), '')).toBeUndefined();
    expect(readOption(option({ optional: true }), '')).toBeNull();
    expect(readOption(option({ kind: 'choice', choices: ['l1'] }), 'l2')).toBeUndefined();
    expect(readOption(option({ kind: 'boolean' }), 'true')).toBe(true);
  });

  it('are kept only where they differ from the default', () => {
    expect(withOption({}, option({}), 2)).toEqual({ alpha: 2 });
    expect(withOption({ alpha: 2, norm: 'l1' }, option({}), 1)).toEqual({ norm: 'l1' });
  });
});
