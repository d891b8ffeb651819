/** What is on screen, all of it, as one plain value: it stands in the URL, is undone and redone, and goes to Python. */

import { INITIAL_HEADS, type HeadsView } from '../heads/heads-view';

export const SCREENS = ['library', 'explain', 'heads', 'compare'] as const;
export const SCALES = ['map', 'block', 'global'] as const;
export const CURVES = ['linear', 'sqrt', 'rank'] as const;
export const THEMES = ['auto', 'light', 'dark'] as const;
export const DIRECTIONS = ['out', 'in'] as const;
export const COLUMNS = ['pictures', 'classes', 'models'] as const;
export const SHARED = ['own', 'method', 'all'] as const;
export const GROUNDS = ['photo', 'plain'] as const;
export const MAGNITUDE_COLOURS = ['viridis', 'cividis', 'magma', 'grey'] as const;
export const SIGNED_COLOURS = ['blue-red', 'purple-orange'] as const;
export const SORT_KEYS = [
  'order',
  'name',
  'label',
  'prediction',
  'confidence',
  'drop',
  'entropy',
  'similarity',
] as const;

export type Screen = (typeof SCREENS)[number];
export type Scale = (typeof SCALES)[number];
export type Curve = (typeof CURVES)[number];
export type Theme = (typeof THEMES)[number];
export type Direction = (typeof DIRECTIONS)[number];
export type Columns = (typeof COLUMNS)[number];
export type Shared = (typeof SHARED)[number];
export type Ground = (typeof GROUNDS)[number];
export type Colour = (typeof MAGNITUDE_COLOURS)[number] | (typeof SIGNED_COLOURS)[number];
export type SortKey = (typeof SORT_KEYS)[number];

/** `block.head`, both from 0. */
export type HeadId = `${number}.${number}`;
export type OptionValue = string | number | boolean | null | OptionValue[];
export type Query = 'cls' | number;
/** `predicted`, the number of a class, or what else the library's parser takes, such as `difference:cat,dog`. */
export type Target = string | number;
/** From the lower to the upper end, both included. */
export type Interval = readonly [low: number, high: number];

export interface Filters {
  readonly class: readonly string[];
  readonly correct: 'right' | 'wrong' | null;
  readonly confidence: Interval | null;
  readonly entropy: Interval | null;
  readonly text: string;
}

export interface Sort {
  readonly key: SortKey;
  readonly descending: boolean;
  /** The picture that others are compared with, of `similarity`. */
  readonly like: string | null;
}

export interface ViewState {
  readonly screen: Screen;
  readonly picture: string | null;
  /** null: the server's default. */
  readonly method: string | null;
  /** Those that differ from the method's defaults. */
  readonly options: Readonly<Record<string, OptionValue>>;
  readonly target: Target;
  /** null: the whole map, over all blocks. */
  readonly block: number | null;
  readonly query: Query;
  readonly direction: Direction;
  /** Heads whose attention is shown. */
  readonly heads: readonly HeadId[];
  /** Heads that are switched off. */
  readonly off: readonly HeadId[];
  readonly scale: Scale;
  readonly curve: Curve;
  readonly smooth: boolean;
  readonly opacity: number;
  readonly ground: Ground;
  readonly colour: Colour | null;
  readonly filters: Filters;
  readonly sort: Sort;
  /** Whether the thumbnails of the library carry their map. */
  readonly overlay: boolean;
  /** Pictures that are selected, by id. */
  readonly selected: readonly string[];
  readonly drawer: boolean;
  /** The strongest so many lines of the drawer. */
  readonly top: number;
  readonly threshold: number;
  /** Methods that are compared beside those of the study. */
  readonly added: readonly string[];
  readonly columns: Columns;
  /** The metric that the rows are sorted by. */
  readonly ranked: string | null;
  /** Which maps of Compare have one colour scale: none with another, those of a method, all. */
  readonly shared: Shared;
  /** Up to two cells that are held against each other: method/column. */
  readonly pair: readonly string[];
  readonly zoom: number;
  readonly theme: Theme;
  /** What the Heads screen shows. */
  readonly dashboard: HeadsView;
}

export const NO_FILTERS: Filters = {
  class: [],
  correct: null,
  confidence: null,
  entropy: null,
  text: '',
};

export const INITIAL: ViewState = {
  screen: 'library',
  picture: null,
  method: null,
  options: {},
  target: 'predicted',
  block: null,
  query: 'cls',
  direction: 'out',
  heads: [],
  off: [],
  scale: 'map',
  curve: 'linear',
  smooth: false,
  opacity: 0.85,
  ground: 'photo',
  colour: null,
  filters: NO_FILTERS,
  sort: { key: 'order', descending: false, like: null },
  overlay: false,
  selected: [],
  drawer: false,
  top: 20,
  threshold: 0.01,
  added: [],
  columns: 'pictures',
  ranked: null,
  shared: 'own',
  pair: [],
  zoom: 1,
  theme: 'auto',
  dashboard: INITIAL_HEADS,
};

export function headId(block: number, head: number): HeadId {
  return `${block}.${head}`;
}

export function headParts(id: HeadId): { block: number; head: number } {
  const [block = 0, head = 0] = id.split('.').map(Number);
  return { block, head };
}

/** Block by block, head by head. */
export function compareHeads(first: HeadId, second: HeadId): number {
  const [a, b] = [headParts(first), headParts(second)];
  return a.block - b.block || a.head - b.head;
}
