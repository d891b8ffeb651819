/** Filters of the library as masks: one per filter, so that each histogram can show what the others leave. */

import type { Floats, Picture } from '../data/source';
import { and, type Mask, type Universe } from '../state/selection';
import type { Filters, Interval, Sort, SortKey } from '../state/view-state';

export type FilterName = keyof Filters;
export const FILTER_NAMES: readonly FilterName[] = ['class', 'correct', 'confidence', 'entropy', 'text'];

type Test = (picture: Picture) => boolean;

function tests(filters: Filters): Record<FilterName, Test | null> {
  const classes = new Set(filters.class);
  const text = filters.text.trim().toLowerCase();
  const within = (interval: Interval | null, of: (picture: Picture) => number | null): Test | null =>
    interval &&
    ((picture) => {
      const value = of(picture);
      return value !== null && value >= interval[0] && value <= interval[1];
    });
  return {
    class: classes.size ? (picture) => classes.has(classOf(picture)) : null,
    correct: filters.correct && ((picture) => picture.correct === (filters.correct === 'right')),
    confidence: within(filters.confidence, (picture) => picture.confidence),
    entropy: within(filters.entropy, (picture) => picture.entropy),
    text: text
      ? (picture) =>
          [picture.name, picture.label, picture.prediction].some((words) =>
            words?.toLowerCase().includes(text),
          )
      : null,
  };
}

/** What a picture counts as in the list of classes: its label, where there is none its prediction. */
export function classOf(picture: Picture): string {
  return picture.label ?? picture.prediction ?? 'not known';
}

export type Masks = Readonly<Record<FilterName, Mask>>;

/** What each filter alone lets through. */
export function masksOf(pictures: readonly Picture[], universe: Universe, filters: Filters): Masks {
  const all = universe.all();
  const byFilter = tests(filters);
  return Object.fromEntries(
    FILTER_NAMES.map((name) => {
      const test = byFilter[name];
      return [name, test ? universe.where((place) => test(pictures[place] as Picture)) : all];
    }),
  ) as Record<FilterName, Mask>;
}

/** What passes every filter, but for the one that is left out. */
export function passing(masks: Masks, leftOut: FilterName | null = null): Mask {
  return FILTER_NAMES.filter((name) => name !== leftOut)
    .map((name) => masks[name])
    .reduce(and);
}

/** Places of the pictures in the order that is asked for; what has no value comes last. */
export function sorted(
  pictures: readonly Picture[],
  places: readonly number[],
  { key, descending }: Pick<Sort, 'key' | 'descending'>,
  similarity: Floats | null = null,
): number[] {
  const turn = descending ? -1 : 1;
  if (key === 'order') return descending ? [...places].reverse() : [...places];
  const values = places.map((place) => valueOf(pictures[place], key, similarity));
  const collator = new Intl.Collator(undefined, { numeric: true });
  return places
    .map((_, at) => at)
    .sort((first, second) => {
      const [a, b] = [values[first] ?? null, values[second] ?? null];
      if (a === null || b === null) return Number(a === null) - Number(b === null) || first - second;
      const order = typeof a === 'number' ? a - Number(b) : collator.compare(a, String(b));
      return turn * order || first - second;
    })
    .map((at) => places[at] as number);
}

/** What a picture is sorted by; null where it is not known. */
export function valueOf(
  picture: Picture | undefined,
  key: SortKey,
  similarity: Floats | null,
): string | number | null {
  if (!picture || key === 'order') return null;
  if (key !== 'similarity') return picture[key];
  const value = picture.row === null ? undefined : similarity?.[picture.row];
  return value === undefined || Number.isNaN(value) ? null : value;
}

/** Keys whose largest values are what is looked for: they are shown first. */
export const LARGEST_FIRST: readonly SortKey[] = ['drop', 'entropy', 'similarity'];

export interface Bin {
  readonly low: number;
  readonly high: number;
  /** Of all pictures, and of those that the other filters leave. */
  readonly all: number;
  readonly left: number;
}

/** Counts over `count` even steps from `low` to `high`. */
export function binned(
  values: readonly (number | null)[],
  isLeft: (place: number) => boolean,
  low: number,
  high: number,
  count = 24,
): Bin[] {
  const width = (high - low) / count || 1;
  const all = new Array<number>(count).fill(0);
  const left = new Array<number>(count).fill(0);
  values.forEach((value, place) => {
    if (value === null) return;
    const bin = Math.min(count - 1, Math.max(0, Math.floor((value - low) / width)));
    all[bin] = (all[bin] ?? 0) + 1;
    if (isLeft(place)) left[bin] = (left[bin] ?? 0) + 1;
  });
  return all.map((total, bin) => ({
    low: low + bin * width,
    high: low + (bin + 1) * width,
    all: total,
    left: left[bin] ?? 0,
  }));
}

export interface ClassCount {
  readonly name: string;
  readonly all: number;
  readonly left: number;
}

/** How many pictures each class has, the most frequent first. */
export function classCounts(pictures: readonly Picture[], isLeft: (place: number) => boolean): ClassCount[] {
  const counts = new Map<string, { all: number; left: number }>();
  pictures.forEach((picture, place) => {
    const known = counts.get(classOf(picture)) ?? { all: 0, left: 0 };
    counts.set(classOf(picture), { all: known.all + 1, left: known.left + Number(isLeft(place)) });
  });
  return [...counts]
    .map(([name, count]) => ({ name, ...count }))
    .sort((a, b) => b.left - a.left || b.all - a.all || a.name.localeCompare(b.name));
}
