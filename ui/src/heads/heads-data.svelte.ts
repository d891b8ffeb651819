/** What a study tells of its heads, loaded once and again when more of it is computed. */

import { address, bytes, json, type Answer } from '../api/client';
import { decodeTensors, floats, type Tensors } from '../codec/tensors';
import { Loaded } from '../data/loaded.svelte';
import type { Floats } from '../data/source';
import type { HeadId } from '../state/view-state';
import type { Removal } from './removal';

export type HeadsAbout = Answer<'/api/heads/study'>;
export type PartName = 'importance' | 'strength' | 'patterns' | 'features' | 'model';
export type Effects = Answer<'/api/heads/ablation'>;
export type WorkEstimate = Answer<'/api/heads/estimate'>;

export interface Metric {
  readonly name: string;
  readonly title: string;
  readonly family: string;
  readonly signed: boolean;
}

/** Metrics × blocks × heads, NaN where a block has fewer heads. */
export interface HeadTable {
  readonly metrics: readonly Metric[];
  readonly pictures: number;
  readonly mean: Floats;
  readonly low: Floats;
  readonly high: Floats;
}

export interface Strength {
  readonly arrays: Readonly<Record<string, { readonly shape: readonly number[]; readonly data: Floats }>>;
  readonly blocks: readonly number[];
  readonly prefix: readonly string[];
  readonly grid: readonly [number, number];
  readonly distance: string;
  readonly pictures: number;
  readonly trend: Readonly<Record<string, number | null>>;
}

export interface Cluster {
  readonly cluster: number;
  readonly name: string;
  readonly because: string;
  readonly maps: number;
  readonly content_dependence: number | null;
}

export interface Atlas {
  readonly clusters: readonly Cluster[];
  readonly form: string;
  readonly side: number;
  readonly prototypes: Floats;
  readonly examples: Floats;
  readonly shares: Floats;
  readonly purity: Floats;
  readonly dependence: Floats;
  readonly sampled: number;
  readonly verdict: string;
}

/** Of each picture, block and head: where its map lies, and which pattern it has. */
export interface Codes {
  readonly rows: Uint32Array;
  readonly places: Floats;
  readonly clusters: Uint8Array;
}

export interface StudyPictures {
  readonly ids: readonly string[];
  readonly rows: Uint32Array;
  readonly layout: Floats | null;
}

export interface PictureResponse {
  readonly metric: Metric;
  /** Of which heads. */
  readonly heads: string;
  readonly of: ReadonlyMap<number, number>;
}

export interface Agreement {
  readonly names: readonly string[];
  readonly spearman: Floats;
  readonly low: Floats;
  readonly high: Floats;
}

export interface Partial_ {
  readonly steps: readonly (readonly [part: string, k: number])[];
  readonly metrics: readonly Metric[];
  readonly pictures: number;
  readonly mean: Floats;
  readonly spread: Floats;
}

export const NO_CLUSTER = 255;

async function tensors<T>(url: string, read: (answer: Tensors) => T): Promise<T> {
  return read(decodeTensors(await bytes(url)));
}

const data = (answer: Tensors, name: string): Floats => floats(answer, name).data;
const raw = (answer: Tensors, name: string): Uint32Array | Uint8Array =>
  answer.tensors.get(name)?.data as Uint32Array | Uint8Array;

export function askTable(rows = ''): Promise<HeadTable> {
  return tensors(address('api/heads/table', { rows }), (answer) => ({
    ...(answer.metadata as unknown as Pick<HeadTable, 'metrics' | 'pictures'>),
    mean: data(answer, 'mean'),
    low: data(answer, 'low'),
    high: data(answer, 'high'),
  }));
}

/** How strongly each picture responds to some heads, by its row. */
export function askResponse(metric: string, heads: string): Promise<PictureResponse> {
  return tensors(address('api/heads/response', { metric, heads }), (answer) => {
    const [rows, found] = [raw(answer, 'rows'), data(answer, 'response')];
    return {
      metric: answer.metadata.metric as Metric,
      heads,
      of: new Map(Array.from(rows, (row, at) => [row, found[at] as number])),
    };
  });
}

export function askAgreement(metrics: readonly string[] = []): Promise<Agreement> {
  return tensors(address('api/heads/agreement', { metrics }), (answer) => ({
    names: answer.metadata.names as string[],
    spearman: data(answer, 'spearman'),
    low: data(answer, 'spearman_low'),
    high: data(answer, 'spearman_high'),
  }));
}

export function askWalk(x: number, y: number): Promise<{ map: Floats; side: number; inside: boolean }> {
  return tensors(address('api/heads/walk', { x, y }), (answer) => ({
    map: data(answer, 'map'),
    side: floats(answer, 'map').shape[0] ?? 0,
    inside: answer.metadata.inside === true,
  }));
}

export function askPrototype(points: string): Promise<{ map: Floats; side: number; maps: number }> {
  return tensors(address('api/heads/prototype', { points }), (answer) => ({
    map: data(answer, 'map'),
    side: floats(answer, 'map').shape[0] ?? 0,
    maps: Number(answer.metadata.maps),
  }));
}

export interface Question {
  readonly off?: readonly HeadId[];
  readonly block?: number;
  readonly head?: number;
  readonly rows: string;
  readonly queries?: readonly string[];
  readonly ranking?: readonly string[];
  /** Over which pictures heads are ranked. */
  readonly over?: string;
}

const parameters = (question: Question): Record<string, string | number | readonly string[]> =>
  Object.fromEntries(Object.entries(question).filter(([, value]) => value !== undefined));

export function askEstimate(question: Question): Promise<WorkEstimate> {
  return json(address('api/heads/estimate', parameters(question)));
}

export function askAblation(question: Question): Promise<Effects> {
  return json(address('api/heads/ablation', parameters(question)));
}

export function askPartial(question: Question): Promise<Partial_> {
  return tensors(address('api/heads/partial', parameters(question)), (answer) => ({
    ...(answer.metadata as unknown as Pick<Partial_, 'steps' | 'metrics' | 'pictures'>),
    mean: data(answer, 'mean'),
    spread: data(answer, 'spread'),
  }));
}

export function askRemoval(question: Question): Promise<Removal> {
  return tensors(address('api/heads/cumulative', parameters(question)), (answer) => ({
    ...(answer.metadata as unknown as Omit<Removal, 'mean' | 'low' | 'high'>),
    mean: data(answer, 'mean'),
    low: data(answer, 'low'),
    high: data(answer, 'high'),
  }));
}

function strengthOf(answer: Tensors): Strength {
  const arrays = Object.fromEntries([...answer.tensors.keys()].map((name) => [name, floats(answer, name)]));
  return { ...(answer.metadata as unknown as Omit<Strength, 'arrays'>), arrays };
}

function atlasOf(answer: Tensors): Atlas {
  return {
    ...(answer.metadata as unknown as Pick<Atlas, 'clusters' | 'form' | 'sampled' | 'verdict'>),
    side: floats(answer, 'prototypes').shape[1] ?? 0,
    prototypes: data(answer, 'prototypes'),
    examples: data(answer, 'examples'),
    shares: data(answer, 'shares'),
    purity: data(answer, 'purity'),
    dependence: data(answer, 'content_dependence'),
  };
}

/** Seconds between two looks at a study that grows. */
const BETWEEN = 4;

export class HeadsData {
  #turn = $state(0);
  readonly about = new Loaded(() => (void this.#turn, json<HeadsAbout>('api/heads/study')));
  readonly #computed = $derived.by(() => this.about.value?.computed ?? 0);
  readonly #finished = $derived.by(() => this.about.value?.finished ?? false);

  readonly pictures = new Loaded(() =>
    this.#computed
      ? tensors('api/heads/pictures', (answer): StudyPictures => ({
          ids: answer.metadata.ids as string[],
          rows: raw(answer, 'rows') as Uint32Array,
          layout: answer.tensors.has('layout') ? data(answer, 'layout') : null,
        }))
      : null,
  );
  readonly table = new Loaded(() => this.#when('importance', () => askTable()));
  readonly strength = new Loaded(() =>
    this.#when('strength', () => tensors('api/heads/strength', strengthOf)),
  );
  readonly atlas = new Loaded(() => this.#when('patterns', () => tensors('api/heads/patterns', atlasOf)));
  readonly codes = new Loaded(() =>
    this.#when('patterns', () =>
      tensors('api/heads/codes', (answer): Codes => ({
        rows: raw(answer, 'rows') as Uint32Array,
        places: data(answer, 'places'),
        clusters: raw(answer, 'clusters') as Uint8Array,
      })),
    ),
  );

  constructor() {
    $effect(() => {
      if (this.about.value === null || this.#finished) return;
      const timer = setInterval(() => (this.#turn += 1), 1000 * BETWEEN);
      return () => clearInterval(timer);
    });
  }

  /** Why a part is not there; null where it is, or where that is not known yet. */
  why(part: PartName): string | null {
    return this.about.value?.parts[part]?.reason ?? null;
  }

  readonly #there = $derived.by(() => {
    const parts = this.about.value?.parts ?? {};
    return Object.keys(parts)
      .filter((name) => parts[name]?.there)
      .join();
  });

  #when<T>(part: PartName, ask: () => Promise<T>): Promise<T> | null {
    return this.#computed && this.#finished !== null && this.#there.split(',').includes(part) ? ask() : null;
  }
}
