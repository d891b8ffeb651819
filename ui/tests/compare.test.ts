import { describe, expect, it } from 'vitest';
import { FewAtATime } from '../src/compare/few-at-a-time';
import { joined, modelVerdict, pInWords, scoresOf, spanOfModels, type Models } from '../src/compare/models';
import { differenceOf } from '../src/compare/pairs';
import { ranked, rowsOf, scoreOf, spanOf, standing, type Board } from '../src/compare/rows';
import type { MapResult } from '../src/data/source';

const verdict = (
  first: string,
  second: string,
  better: string,
  words: string,
): Board['verdicts'][number] => ({
  metric: 'srg',
  first,
  second,
  difference: 1,
  low: 0,
  high: 2,
  p: 0.5,
  n: 9,
  better,
  verdict: words,
});
const method = (name: string, control = false): Board['methods'][number] => ({
  name,
  family: '',
  class_specific: true,
  control,
  maps: !control,
  seconds: null,
});
const metric: Board['metrics'][number] = {
  name: 'srg',
  title: 'gain',
  higher_is_better: true,
  ranking: ['b', 'a', 'random'],
  best: ['b', 'a'],
  needed: 9,
};
const board: Board = {
  pictures: 9,
  methods: [method('a'), method('b'), method('random', true)],
  metrics: [metric],
  scores: ['a', 'b', 'random'].map((name, at) => ({
    method: name,
    metric: 'srg',
    value: at,
    low: at - 1,
    high: at + 1,
    n: 9,
    undefined: 0,
  })),
  verdicts: [verdict('b', 'a', '', 'undecided'), verdict('b', 'random', 'b', 'b is better')],
  curves: [],
  missing: null,
};

describe('the rows of Compare', () => {
  it('are those of the study, then what was added, and the baselines at the end however they are sorted', () => {
    const rows = rowsOf(board, [], ['c'], true);
    expect(rows.map((row) => row.name)).toEqual(['a', 'b', 'c', 'random', 'input-x-gradient']);
    expect(ranked(rows, metric).map((row) => row.name)).toEqual([
      'b',
      'a',
      'c',
      'random',
      'input-x-gradient',
    ]);
    expect(ranked(rows, null)).toEqual(rows);
  });

  it('say why there is no map', () => {
    const rows = rowsOf(board, [], [], false);
    expect(rows.find((row) => row.name === 'a')?.refusal).toBeNull();
    expect(rows.find((row) => row.name === 'random')?.refusal).toContain('no model');
  });

  it('say what the paired comparisons say, and that nothing is decided where nothing is', () => {
    expect(standing(board, 'b', metric)).toBe('first, undecided against 1');
    expect(standing(board, 'b', { ...metric, best: ['b'] })).toBe('best');
    expect(standing(board, 'a', metric)).toBe('undecided');
    expect(standing(board, 'random', metric)).toBe('worse than b');
    expect(standing(board, 'c', metric)).toBe('');
    expect(standing(board, 'b', { ...metric, best: [] })).toBe('first, undecided: 9 pictures are needed');
    expect(scoreOf(board, 'c', 'srg')).toBeNull();
    expect(spanOf(board, 'srg')).toEqual([-1, 3]);
  });
});

describe('two maps', () => {
  const map = (values: number[], columns = 2): MapResult =>
    ({ grid: { rows: values.length / columns, columns }, map: Float32Array.from(values) }) as MapResult;

  it('differ by their shapes, not by their units', () => {
    expect([...(differenceOf(map([0, 1, 2, 4]), map([0, 10, 20, 40])) ?? [])]).toEqual([0, 0, 0, 0]);
    expect([...(differenceOf(map([1, 0, 0, 0]), map([0, 0, 0, -2])) ?? [])]).toEqual([1, 0, 0, 1]);
  });

  it('of other grids have no difference', () => {
    expect(differenceOf(map([0, 1, 2, 4]), map([0, 1, 2, 4, 5, 6]))).toBeNull();
  });
});

describe('two models', () => {
  const score = (model: string, method: string, value: number): Models['scores'][number] => ({
    model,
    method,
    metric: 'srg',
    value,
    low: value - 1,
    high: value + 1,
    n: 9,
    undefined: 0,
  });
  const paired = (method: string, words: string, p: number | null): Models['verdicts'][number] => ({
    method,
    metric: 'srg',
    difference: 1,
    low: 0,
    high: 2,
    p,
    n: 9,
    better: '',
    verdict: words,
  });
  const models: Models = {
    names: ['one', 'other'],
    pictures: 9,
    only: [0, 2],
    targets: ['top1', 'top1'],
    notes: [],
    metrics: [metric],
    // the answer need not be in the order of the models
    scores: [score('other', 'a', 4), score('one', 'a', 2), score('other', 'b', 1), score('one', 'c', 0)],
    verdicts: [paired('a', 'undecided', 0.31), paired('d', 'n/a: 4 pictures', null)],
    unlike: [{ method: 'c', reason: "norm: 'l1' against 'l2'" }],
    agreement: [],
    missing: null,
  };

  it('have their scores in their order', () => {
    expect(scoresOf(models, 'a', 'srg').map((each) => [each.model, each.value])).toEqual([
      ['one', 2],
      ['other', 4],
    ]);
    expect(scoresOf(models, 'a', 'other')).toEqual([]);
    expect(spanOfModels(models, 'srg')).toEqual([-1, 5]);
    expect(spanOfModels(models, 'none')).toEqual([0, 1]);
  });

  it('have a verdict, or the reason why there is none', () => {
    expect(modelVerdict(models, 'a', 'srg')).toBe('undecided (p 0.31)');
    expect(modelVerdict(models, 'd', 'srg')).toBe('n/a: 4 pictures');
    expect(modelVerdict(models, 'b', 'srg')).toBe('scored by other alone');
    expect(modelVerdict(models, 'c', 'srg')).toBe("not paired: norm: 'l1' against 'l2'");
    expect(modelVerdict(models, 'x', 'srg')).toBe('');
    expect(pInWords(0.00001)).toBe('< 1e−4');
  });

  it('have the rows of both', () => {
    expect(
      joined([
        ['a', 'b'],
        ['b', 'c'],
      ]),
    ).toEqual(['a', 'b', 'c']);
    const rows = rowsOf(board, [], [], false, ['a', 'beside']);
    expect(rows.map((row) => row.name)).toEqual(['a', 'b', 'beside', 'random', 'input-x-gradient']);
    expect(rows.find((row) => row.name === 'beside')?.refusal).toContain('no model');
  });
});

describe('work that waits its turn', () => {
  it('is done in order, so many at a time, and not at all once it is forgotten', async () => {
    const queue = new FewAtATime(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    for (const number of [0, 1, 2, 3, 4])
      queue.add(() => {
        begun.push(number);
        return new Promise<void>((done) => ends.push(done));
      });
    expect(begun).toEqual([0, 1]);
    ends[1]?.();
    await new Promise((done) => setTimeout(done));
    expect(begun).toEqual([0, 1, 2]);
    queue.clear();
    ends[0]?.();
    await new Promise((done) => setTimeout(done));
    expect(begun).toEqual([0, 1, 2]);
    queue.add(() => Promise.resolve(begun.push(5)));
    expect(begun).toEqual([0, 1, 2, 5]);
  });
});
