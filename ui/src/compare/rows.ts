/** What stands in the rows and what is said of them: plain functions over the study's own leaderboard. */

import type { components } from '../api/schema';
import type { Method } from '../data/source';

export type Board = components['schemas']['Board'];
export type Score = components['schemas']['Score'];
export type Metric = components['schemas']['ComparedMetric'];
export type Verdict = components['schemas']['Verdict'];

/** Always there, so that numbers and maps mean something. */
export const PINNED = ['random', 'input-x-gradient'] as const;

export interface Row {
  readonly name: string;
  readonly title: string;
  /** Stays below the others however they are sorted. */
  readonly pinned: boolean;
  /** The study keeps its maps. */
  readonly kept: boolean;
  /** Why there is no map; null where there is one. */
  readonly refusal: string | null;
  /** Seconds of a picture, where they were measured. */
  readonly seconds: number | null;
  readonly passes: number;
}

/** The study's methods, those of the study beside, those that were added, and the pinned ones below. */
export function rowsOf(
  board: Board,
  methods: readonly Method[],
  added: readonly string[],
  canCompute: boolean,
  beside: readonly string[] = [],
): Row[] {
  const scored = board.methods.map((method) => method.name);
  const pinned = new Set<string>(PINNED);
  for (const method of board.methods) if (method.control) pinned.add(method.name);
  const names = [...new Set([...scored, ...beside, ...added, ...PINNED])];
  const made = names.map((name): Row => {
    const known = methods.find((method) => method.name === name);
    const scores = board.methods.find((method) => method.name === name);
    const kept = scores?.maps ?? false;
    const without = canCompute
      ? null
      : 'the study keeps no maps of it, and there is no model to compute them';
    const refusal = known ? (known.refusal ?? without) : 'this method is not installed here';
    return {
      name,
      title: known?.title ?? name,
      pinned: pinned.has(name),
      kept,
      refusal: kept ? null : canCompute ? refusal : without,
      seconds: scores?.seconds ?? null,
      passes: (known?.forwards ?? 0) + (known?.backwards ?? 0),
    };
  });
  return [...made.filter((row) => !row.pinned), ...made.filter((row) => row.pinned)];
}

/** By the ranking of a metric, as the leaderboard has it; what it does not rank stays in its order, below. */
export function ranked(rows: readonly Row[], metric: Metric | null): Row[] {
  if (metric === null) return [...rows];
  const place = (row: Row): number => {
    const at = metric.ranking.indexOf(row.name);
    return (row.pinned ? 1e6 : 0) + (at < 0 ? 1e3 : at);
  };
  return [...rows].sort((first, second) => place(first) - place(second));
}

export function scoreOf(board: Board, method: string, metric: string): Score | null {
  return board.scores.find((score) => score.method === method && score.metric === metric) ?? null;
}

/** What the paired comparison with the leading method says. */
export function standing(board: Board, method: string, metric: Metric): string {
  const leader = metric.ranking[0];
  if (scoreOf(board, method, metric.name) === null) return '';
  if (metric.higher_is_better === null) return 'not ranked';
  if (method === leader) return first(metric);
  const pair = verdictOf(board, method, leader ?? '', metric.name);
  if (!pair) return '';
  if (pair.better === leader) return `worse than ${leader}`;
  return pair.better ? `better than ${leader}` : pair.verdict === 'undecided' ? 'undecided' : pair.verdict;
}

/** Of the leading method: whether its lead over the others is beyond noise. */
function first({ best, needed }: Metric): string {
  if (best.length === 0) return `first, undecided: ${needed} pictures are needed`;
  return best.length === 1 ? 'best' : `first, undecided against ${best.length - 1}`;
}

export function verdictOf(board: Board, one: string, other: string, metric: string): Verdict | null {
  return (
    board.verdicts.find(
      (each) =>
        each.metric === metric &&
        ((each.first === one && each.second === other) || (each.first === other && each.second === one)),
    ) ?? null
  );
}

/** The interval of all scores of a metric, for bars that can be compared. */
export function spanOf(board: Board, metric: string): readonly [low: number, high: number] {
  const ends = board.scores
    .filter((score) => score.metric === metric)
    .flatMap((score) => [score.low, score.high, score.value])
    .filter((value): value is number => value !== null);
  const low = Math.min(0, ...ends);
  const high = Math.max(0, ...ends);
  return low === high ? [low, low + 1] : [low, high];
}
