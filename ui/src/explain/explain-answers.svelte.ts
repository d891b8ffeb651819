/** What is asked of the source for the picture, the method and the query that the view names, and what came back. */

import { Loaded } from '../data/loaded.svelte';
import type {
  About,
  BlockFacts,
  DataSource,
  Estimate,
  Extent,
  Importance,
  MapQuery,
  MapResult,
  Method,
  MethodList,
  Prediction,
} from '../data/source';
import type { ViewStore } from '../state/view.svelte';
import { AttentionByBlock } from './attention-by-block.svelte';

/** A map that takes longer than so many seconds is only computed when that is asked for. */
const ASK_ABOVE_SECONDS = 6;
const ASK_ABOVE_PASSES = 24;

/** What does not change while the page is open. */
export interface Facts {
  readonly about: About;
  readonly methods: MethodList;
  readonly classes: readonly string[];
}

/** Passes over one picture with these options. */
export function passesOf(method: Method, options: MapQuery['options']): number {
  const given = method.passesBy && options[method.passesBy.option];
  const share = method.passesBy && typeof given === 'number' && given > 0 ? given / method.passesBy.at : 1;
  return (method.forwards + method.backwards) * share;
}

function takesLong({ seconds }: Estimate): boolean {
  return seconds === null || seconds > ASK_ABOVE_SECONDS;
}

export class ExplainAnswers {
  readonly prediction: Loaded<Prediction>;
  readonly map: Loaded<MapResult>;
  readonly blockFacts: Loaded<BlockFacts>;
  readonly importance: Loaded<Importance>;
  readonly estimate: Loaded<Estimate>;
  readonly attention: AttentionByBlock;
  #accepted: string | null = $state(null);

  constructor(
    readonly source: DataSource,
    readonly view: ViewStore,
    readonly facts: Facts,
  ) {
    const of = <T>(ask: (picture: string) => Promise<T | null>): (() => Promise<T | null> | null) => {
      return () => (this.#picture === null ? null : ask(this.#picture));
    };
    this.prediction = new Loaded(of((picture) => source.prediction(picture, this.#off)));
    this.blockFacts = new Loaded(of((picture) => source.blocks(picture, this.#off)));
    this.importance = new Loaded(of((picture) => source.importance(picture)));
    this.estimate = new Loaded(() => {
      const query = this.query;
      return query && this.isLong ? source.estimate(query) : null;
    });
    this.map = new Loaded(() => {
      const query = this.query;
      return query && !this.waits ? source.map(query) : null;
    });
    this.attention = new AttentionByBlock(
      source,
      () => this.blocks,
      () => this.#rowsQuery,
      () => this.block,
    );
  }

  readonly #picture = $derived.by(() => this.view.now.picture);
  readonly #off = $derived.by(() => this.view.now.off);

  get blocks(): number {
    return this.facts.about.model?.blocks ?? 0;
  }

  get prefixNames(): readonly string[] {
    return this.facts.about.model?.prefix ?? [];
  }

  /** The block whose heads are shown: that of the cursor, the last one while the whole map is shown. */
  readonly block = $derived.by(() => Math.min(this.view.now.block ?? Infinity, Math.max(0, this.blocks - 1)));

  readonly method: Method | null = $derived.by(() => {
    const { methods, default: usual } = this.facts.methods;
    const asked = methods.find((method) => method.name === this.view.now.method && method.refusal === null);
    return asked ?? methods.find((method) => method.name === usual) ?? null;
  });

  /** Told as text first, so that only a change of what is asked for asks again. */
  readonly #queryKey = $derived.by(() => {
    const { picture, options, target, off } = this.view.now;
    if (picture === null || this.method === null) return null;
    const query: MapQuery = {
      picture,
      method: this.method.name,
      options: this.view.now.method === this.method.name || this.view.now.method === null ? options : {},
      target: this.method.classSpecific ? target : 'predicted',
      off,
    };
    return JSON.stringify(query);
  });

  readonly query: MapQuery | null = $derived.by(() =>
    this.#queryKey === null ? null : (JSON.parse(this.#queryKey) as MapQuery),
  );

  readonly #rowsKey = $derived.by(() => {
    const { picture, query, direction, off } = this.view.now;
    if (picture === null) return null;
    return JSON.stringify({ picture, query, direction, off });
  });

  readonly #rowsQuery = $derived.by(() =>
    this.#rowsKey === null ? null : (JSON.parse(this.#rowsKey) as Parameters<DataSource['attention']>[0]),
  );

  /** The options that are set, for the method that is used. */
  get options(): MapQuery['options'] {
    return this.query?.options ?? {};
  }

  get extent(): Extent {
    return this.map.value?.extent ?? this.facts.about.model?.extent ?? [0, 0, 1, 1];
  }

  /** Width by height of what the model sees. */
  get aspect(): number {
    const [height, width] = this.facts.about.model?.size ?? [1, 1];
    return width / height;
  }

  get isLong(): boolean {
    return this.method !== null && passesOf(this.method, this.options) > ASK_ABOVE_PASSES;
  }

  /** Whether the map is not computed until that is asked for. */
  readonly waits = $derived.by(() => {
    if (!this.facts.about.canCompute || !this.isLong || this.#accepted === this.#queryKey) return false;
    if (this.estimate.error) return false; // the map then says what is wrong with what was asked
    return this.#estimated === null || takesLong(this.#estimated);
  });

  /** The estimate of what is asked for now, not of what was asked for before. */
  readonly #estimated = $derived.by(() => (this.estimate.loading ? null : this.estimate.value));

  /** Whether the map waits for a yes: known to be long, not merely not known yet. */
  readonly asks = $derived.by(() => this.waits && this.#estimated !== null && takesLong(this.#estimated));

  /** Compute the map although it takes long. */
  accept(): void {
    this.#accepted = this.#queryKey;
  }
}
