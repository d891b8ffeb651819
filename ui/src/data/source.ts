/**
 * Where the components get their data from: the server behind the page, or values handed over by a notebook.
 *
 * A source answers null where it has no such thing (a notebook's explanation holds no attention); what shows it then
 * stays away.
 */

import type { Direction, HeadId, OptionValue, Query, Target } from '../state/view-state';

export type Floats = Float32Array<ArrayBuffer>;
/** top, left, bottom, right as shares of the picture's sides. */
export type Extent = readonly [number, number, number, number];

export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

export interface ModelFacts {
  readonly name: string;
  readonly weights: string;
  readonly grid: Grid | null;
  /** Height and width that the model takes. */
  readonly size: readonly [number, number];
  readonly blocks: number;
  /** How many heads each block has. */
  readonly heads: readonly number[];
  /** The tokens before the patches, by name. */
  readonly prefix: readonly string[];
  /** How many classes it tells apart; null for a model without classifier. */
  readonly classes: number | null;
  readonly notes: readonly string[];
  /** Which part of what the model sees its patches read. */
  readonly extent: Extent;
}

export interface About {
  readonly version: string;
  readonly model: ModelFacts | null;
  readonly study: string | null;
  /** The study beside it: what the models of the two are called, and below which path its addresses are. */
  readonly beside: { readonly names: readonly [string, string]; readonly base: string } | null;
  /** Which of the numbers to sort pictures by are not known here, each with the reason. */
  readonly unknown: Readonly<Record<string, string>>;
  readonly canCompute: boolean;
  /** Why nothing can be computed; null where it can. */
  readonly whyNot: string | null;
  /** What is to be known of the study, and why nothing can be computed where that is so, a sentence each. */
  readonly notes: readonly string[];
  readonly uploadBytes: number;
  /** Whether films can be exported as WebM. */
  readonly video: boolean;
}

export type OptionKind = 'number' | 'integer' | 'boolean' | 'choice' | 'text' | 'other';

export interface MethodOption {
  readonly name: string;
  readonly kind: OptionKind;
  readonly default: OptionValue;
  readonly low: number | null;
  readonly high: number | null;
  readonly step: number | null;
  readonly choices: readonly string[];
  /** Whether it can be left open (None). */
  readonly optional: boolean;
  /** What is accepted, in the registry's words. */
  readonly accepts: string;
}

export interface Method {
  readonly name: string;
  readonly title: string;
  readonly family: string;
  readonly summary: string;
  readonly citation: string;
  readonly signed: boolean;
  readonly classSpecific: boolean;
  readonly hasFlow: boolean;
  readonly forwards: number;
  readonly backwards: number;
  /** The option that the passes are in proportion to, and its value at which they hold. */
  readonly passesBy: { readonly option: string; readonly at: number } | null;
  /** Why it does not apply to the model; null when it does. */
  readonly refusal: string | null;
  readonly options: readonly MethodOption[];
}

export interface MethodList {
  readonly default: string;
  readonly methods: readonly Method[];
}

export interface Picture {
  readonly id: string;
  /** Its number in the study; null for one that was added. */
  readonly row: number | null;
  readonly name: string;
  readonly label: string | null;
  readonly prediction: string | null;
  readonly confidence: number | null;
  readonly entropy: number | null;
  /** How far the probability of its class falls without the head that matters most to it. */
  readonly drop: number | null;
  readonly dropHead: string | null;
  readonly correct: boolean | null;
  /** Dropped in, rather than part of the study. */
  readonly added: boolean;
  /** Why it could not be read, null when it could. */
  readonly skipped: string | null;
}

export interface ClassScore {
  readonly class: number;
  readonly name: string;
  readonly probability: number;
  readonly logit: number;
}

export interface Prediction {
  readonly top: readonly ClassScore[];
  readonly label: { readonly class: number; readonly name: string } | null;
  readonly entropy: number | null;
  /** With the heads switched off: the same classes, then those that are new among the best. */
  readonly without: { readonly top: readonly ClassScore[]; readonly entropy: number | null } | null;
}

export interface MapQuery {
  readonly picture: string;
  readonly method: string;
  readonly options: Readonly<Record<string, OptionValue>>;
  readonly target: Target;
  readonly off: readonly HeadId[];
}

/** Maps that follow each other: one per block, or per stage of a network without blocks. */
export interface Flow {
  readonly of: 'block' | 'stage';
  readonly count: number;
  /** The number of the first. */
  readonly first: number;
  readonly values: Floats;
}

/** A token outside the grid: its share of the whole, its value, and its values in the flow; null where not told. */
export interface PrefixToken {
  readonly name: string;
  readonly share: number;
  readonly value: number | null;
  readonly flow: readonly (number | null)[] | null;
}

export interface MapResult {
  readonly grid: Grid;
  readonly map: Floats;
  /** Steps × cells; null when the method has none. */
  readonly flow: Flow | null;
  /** What lies on the tokens outside the grid. */
  readonly prefix: readonly PrefixToken[];
  readonly extent: Extent;
  readonly signed: boolean;
  readonly target: string;
  readonly score: number | null;
  readonly notes: readonly string[];
}

/** Per block and head, NaN where a block has fewer heads: blocks × heads. */
export interface BlockFacts {
  readonly blocks: number;
  readonly heads: number;
  readonly entropy: Floats;
  readonly classShare: Floats | null;
  readonly hop: Floats | null;
}

export interface AttentionQuery {
  readonly picture: string;
  readonly block: number;
  readonly query: Query;
  readonly direction: Direction;
  readonly off: readonly HeadId[];
}

/** Attention from or to one token: heads × tokens, the prefix tokens first. */
export interface AttentionRows {
  readonly grid: Grid;
  readonly heads: number;
  readonly tokens: number;
  readonly prefix: number;
  readonly values: Floats;
}

/** Attention of a head between all tokens, the prefix tokens first; value = level / 255 · scale[query]. */
export interface AttentionMatrix {
  readonly tokens: number;
  readonly prefix: number;
  readonly levels: Uint8Array;
  readonly scale: Floats;
}

export interface Importance {
  readonly blocks: number;
  readonly heads: number;
  readonly values: Floats;
  readonly title: string;
}

export interface Estimate {
  readonly forwards: number;
  readonly backwards: number;
  readonly seconds: number | null;
}

export interface DataSource {
  about(): Promise<About>;
  methods(): Promise<MethodList>;
  classes(): Promise<readonly string[]>;
  /** Where what the model sees of a picture is: an address of the server, a blob: or data: one; "" where not known. */
  imageUrl(picture: string): string;
  prediction(picture: string, off: readonly HeadId[]): Promise<Prediction | null>;
  map(query: MapQuery): Promise<MapResult>;
  blocks(picture: string, off: readonly HeadId[]): Promise<BlockFacts | null>;
  attention(query: AttentionQuery): Promise<AttentionRows | null>;
  matrix(
    picture: string,
    block: number,
    head: number,
    off: readonly HeadId[],
  ): Promise<AttentionMatrix | null>;
  importance(picture: string): Promise<Importance | null>;
  estimate(query: MapQuery): Promise<Estimate | null>;
}

/** What went wrong, in one line for people, and what mends it. */
export class SourceError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly remedy: string | null = null,
  ) {
    super(message);
  }
}
