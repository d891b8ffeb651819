/**
 * The view in the URL's hash: `#v=1&screen=explain&picture=…`. What equals its initial value is left out; keys and
 * values that are not known are ignored, so that links of other versions still open.
 */

import {
  COLUMNS,
  compareHeads,
  CURVES,
  DIRECTIONS,
  GROUNDS,
  INITIAL,
  MAGNITUDE_COLOURS,
  SCALES,
  SCREENS,
  SIGNED_COLOURS,
  SORT_KEYS,
  THEMES,
  type HeadId,
  type OptionValue,
  type Sort,
  type Target,
  type ViewState,
} from '../state/view-state';
import { readHeads, writeHeads } from '../heads/heads-view';
import { readFilters, writeFilters } from './filters-text';
import { number, wholeNumber } from './numbers-text';

export const VERSION = 1;
const LONGEST_TARGET = 300;

interface Field<T> {
  write: (value: T) => string;
  /** undefined: not understood, the initial value stays. */
  read: (text: string) => T | undefined;
}

const COLOURS = [...MAGNITUDE_COLOURS, ...SIGNED_COLOURS] as const;

function word<const T extends string>(words: readonly T[]): Field<T> {
  return { write: (value) => value, read: (text) => words.find((known) => known === text) };
}

const text: Field<string | null> = { write: (value) => value ?? '', read: (given) => given || undefined };
/** Words that stand in the URL in a form of their own. */
function coded<T extends string>(codes: Readonly<Record<T, string>>): Field<T> {
  const words = Object.keys(codes) as T[];
  return { write: (value) => codes[value], read: (given) => words.find((known) => codes[known] === given) };
}

const switched: Field<boolean> = {
  write: (value) => (value ? '1' : '0'),
  read: (given) => ({ '0': false, '1': true })[given],
};

function bounded(low: number, high: number, whole = false): Field<number> {
  const read = whole ? wholeNumber : number;
  return {
    write: String,
    read: (given) => {
      const value = read(given);
      return value !== undefined && value >= low && value <= high ? value : undefined;
    },
  };
}

const heads: Field<readonly HeadId[]> = {
  write: (ids) => [...ids].sort(compareHeads).join(','),
  read: (given) => {
    const ids = given
      .split(',')
      .filter((id): id is HeadId => /^(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})$/.test(id));
    return [...new Set(ids)].sort(compareHeads);
  },
};

const ids: Field<readonly string[]> = {
  write: (values) => values.map(encodeURIComponent).join(','),
  read: (given) => [...new Set(given.split(',').map(decoded).filter(Boolean))],
};

const options: Field<ViewState['options']> = {
  write: (values) => JSON.stringify(values),
  read: (given) => {
    try {
      const value: unknown = JSON.parse(given);
      const plain = typeof value === 'object' && value !== null && !Array.isArray(value);
      return plain ? (value as Record<string, OptionValue>) : undefined;
    } catch {
      return undefined;
    }
  },
};

const sort: Field<Sort> = {
  write: ({ key, descending, like }) =>
    `${descending ? '-' : ''}${key}${like === null ? '' : `:${encodeURIComponent(like)}`}`,
  read: (given) => {
    const descending = given.startsWith('-');
    const [word = '', like = ''] = given.slice(descending ? 1 : 0).split(':');
    const key = SORT_KEYS.find((known) => known === word);
    return key && { key, descending, like: decoded(like) || null };
  },
};

const place = bounded(0, 1_000_000, true);

/** In the order in which they stand in the URL; `key` is the name there. */
const FIELDS: { [Name in keyof ViewState]: Field<ViewState[Name]> & { key?: string } } = {
  screen: word(SCREENS),
  picture: text,
  method: text,
  options,
  target: { write: String, read: readTarget },
  block: { write: String, read: place.read },
  query: { write: String, read: (given) => (given === 'cls' ? given : place.read(given)) },
  direction: word(DIRECTIONS),
  heads: { ...heads, key: 'head' },
  off: heads,
  scale: word(SCALES),
  curve: word(CURVES),
  smooth: switched,
  opacity: bounded(0, 1),
  ground: word(GROUNDS),
  colour: { write: (value) => value ?? '', read: (given) => word(COLOURS).read(given) },
  filters: { write: writeFilters, read: readFilters },
  sort,
  overlay: switched,
  selected: ids,
  drawer: switched,
  top: bounded(1, 10_000, true),
  threshold: bounded(0, 1),
  added: ids,
  columns: word(COLUMNS),
  ranked: text,
  // As a switch, which it was in older links, with one more place.
  shared: coded({ own: '0', method: '1', all: 'all' }),
  pair: ids,
  zoom: bounded(1, 8),
  theme: word(THEMES),
  dashboard: { write: writeHeads, read: readHeads, key: 'heads' },
};

const NAMES = Object.keys(FIELDS) as (keyof ViewState)[];

/** The view as the text after `#`. */
export function writeView(view: ViewState): string {
  const parts = new URLSearchParams({ v: String(VERSION) });
  for (const name of NAMES) {
    const field = FIELDS[name] as Field<unknown> & { key?: string };
    const written = field.write(view[name]);
    if (written !== field.write(INITIAL[name])) parts.set(field.key ?? name, written);
  }
  // Commas and colons may stand in a hash as they are, and links are read by people.
  return parts.toString().replaceAll('%2C', ',').replaceAll('%3A', ':').replaceAll('%3B', ';');
}

/** The view of a text after `#`, also of one that somebody wrote by hand. */
export function readView(hash: string): ViewState {
  const parts = new URLSearchParams(hash.replace(/^#/, ''));
  const view: Record<string, unknown> = { ...INITIAL };
  for (const name of NAMES) {
    const field = FIELDS[name] as Field<unknown> & { key?: string };
    const written = parts.get(field.key ?? name);
    const value = written === null ? undefined : field.read(written);
    if (value !== undefined) view[name] = value;
  }
  return view as unknown as ViewState;
}

/** A number is a class; anything else is read by the server, whose parser has the last word. */
function readTarget(given: string): Target | undefined {
  if (/^\d+$/.test(given)) return place.read(given);
  return given.trim() && given.length <= LONGEST_TARGET ? given : undefined;
}

function decoded(given: string): string {
  try {
    return decodeURIComponent(given);
  } catch {
    return '';
  }
}
