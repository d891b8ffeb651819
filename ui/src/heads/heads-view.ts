/** What the Heads screen shows, as one plain value in the view: it stands in the link and is undone and redone. */

import type { HeadId } from '../state/view-state';
import type { Brush, Operator } from './brushes';
import { readNumbers } from './places';

export const IMPORTANCE_TABS = ['matrix', 'list', 'scatter', 'cumulative', 'agreement'] as const;
/** Of the cumulative tab: an answer while heads are removed, or the share of the metric that the strongest heads hold. */
export const CUMULATIVE = ['accuracy', 'probability', 'same_prediction', 'js_divergence', 'share'] as const;
export const STRENGTH_TABS = ['profiles', 'trend'] as const;
export const PICTURE_TABS = ['map', 'list'] as const;
export const PATTERN_TABS = ['map', 'mixes'] as const;
export const DETAIL_TABS = ['numbers', 'patterns', 'matrix', 'queries', 'offsets', 'pruning'] as const;
export const PICTURE_COLOURS = ['class', 'correct', 'confidence'] as const;
export const POINT_COLOURS = ['cluster', 'block', 'head', 'importance'] as const;
export const QUANTITIES = ['mass', 'strength'] as const;
export const ORDERS = ['metric', 'lowest', 'second', 'gap', 'place'] as const;

export interface HeadsView {
  readonly metric: string | null;
  readonly second: string | null;
  readonly order: (typeof ORDERS)[number];
  readonly importance: (typeof IMPORTANCE_TABS)[number];
  readonly curve: (typeof CUMULATIVE)[number];
  readonly strength: (typeof STRENGTH_TABS)[number];
  readonly quantity: (typeof QUANTITIES)[number];
  readonly pictures: (typeof PICTURE_TABS)[number];
  readonly pictureColour: (typeof PICTURE_COLOURS)[number];
  /** Whether thumbnails stand at the points of selected pictures. */
  readonly thumbnails: boolean;
  readonly patterns: (typeof PATTERN_TABS)[number];
  readonly pointColour: (typeof POINT_COLOURS)[number];
  readonly detail: (typeof DETAIL_TABS)[number];
  readonly pinned: HeadId | null;
  readonly brushes: readonly Brush[];
}

export const INITIAL_HEADS: HeadsView = {
  metric: null,
  second: null,
  order: 'metric',
  importance: 'matrix',
  curve: 'accuracy',
  strength: 'profiles',
  quantity: 'mass',
  pictures: 'map',
  pictureColour: 'class',
  thumbnails: true,
  patterns: 'map',
  pointColour: 'cluster',
  detail: 'numbers',
  pinned: null,
  brushes: [],
};

type Read<T> = (value: unknown) => T | undefined;
const among =
  <const T extends string>(words: readonly T[]): Read<T> =>
  (value) =>
    words.find((word) => word === value);
const name: Read<string | null> = (value) => (typeof value === 'string' && value ? value : undefined);
const isHead = (value: unknown): value is HeadId =>
  typeof value === 'string' && /^(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})$/.test(value);

const READ: { [Name in keyof HeadsView]: Read<HeadsView[Name]> } = {
  metric: name,
  second: name,
  order: among(ORDERS),
  importance: among(IMPORTANCE_TABS),
  curve: among(CUMULATIVE),
  strength: among(STRENGTH_TABS),
  quantity: among(QUANTITIES),
  pictures: among(PICTURE_TABS),
  pictureColour: among(PICTURE_COLOURS),
  thumbnails: (value) => (typeof value === 'boolean' ? value : undefined),
  patterns: among(PATTERN_TABS),
  pointColour: among(POINT_COLOURS),
  detail: among(DETAIL_TABS),
  pinned: (value) => (isHead(value) ? value : undefined),
  brushes: (value) => (Array.isArray(value) ? value.map(readBrush).filter((one) => one !== null) : undefined),
};

/** What differs from the initial view, as JSON. */
export function writeHeads(view: HeadsView): string {
  const told = Object.entries(view).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(INITIAL_HEADS[key as keyof HeadsView]),
  );
  return told.length ? JSON.stringify(Object.fromEntries(told)) : '';
}

export function readHeads(text: string): HeadsView | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const found: Record<string, unknown> = { ...INITIAL_HEADS };
  for (const [key, given] of Object.entries(value)) {
    const read = Object.hasOwn(READ, key) ? READ[key as keyof HeadsView] : undefined;
    const known = read?.(given);
    if (known !== undefined) found[key] = known;
  }
  return found as unknown as HeadsView;
}

const isShare = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= 1;
const isPlace = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 10_000;
const isNumbers = (value: unknown): value is string =>
  typeof value === 'string' && readNumbers(value) !== null;

function readBrush(value: unknown): Brush | null {
  if (typeof value !== 'object' || value === null) return null;
  const given = value as Record<string, unknown>;
  const op = among(['and', 'or', 'not'])(given.op) as Operator | undefined;
  if (!op) return null;
  const { kind, heads, from, to, least, rows, cluster, points } = given;
  if (kind === 'heads' && Array.isArray(heads) && heads.every(isHead)) return { op, kind, heads };
  if (kind === 'hops' && isPlace(from) && isPlace(to) && from <= to && isShare(least)) {
    return { op, kind, from, to, least };
  }
  if (kind === 'class' && isShare(least)) return { op, kind, least };
  if (kind === 'pictures' && isNumbers(rows)) return { op, kind, rows };
  if (kind === 'cluster' && isPlace(cluster)) return { op, kind, cluster };
  if (kind === 'points' && isNumbers(points)) return { op, kind, points };
  return null;
}
