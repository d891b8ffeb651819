/** A source of values that are there already, such as those that a notebook hands over: nothing is computed. */

import {
  SourceError,
  type About,
  type AttentionRows,
  type BlockFacts,
  type DataSource,
  type Estimate,
  type Importance,
  type MapQuery,
  type MapResult,
  type MethodList,
  type Prediction,
} from './source';

/** What there is for one picture; maps by the name of their method. */
export interface HeldPicture {
  /** A blob: or data: address. */
  readonly image: string;
  readonly maps: ReadonlyMap<string, MapResult>;
  readonly prediction?: Prediction;
  readonly blocks?: BlockFacts;
  readonly importance?: Importance;
  /** Attention of the class token (or `query`) by `block/query/direction`. */
  readonly attention?: ReadonlyMap<string, AttentionRows>;
}

export interface Held {
  readonly about: About;
  readonly methods: MethodList;
  readonly classes: readonly string[];
  readonly pictures: ReadonlyMap<string, HeldPicture>;
}

export class MemorySource implements DataSource {
  readonly #held: Held;

  constructor(held: Held) {
    this.#held = held;
  }

  about(): Promise<About> {
    return Promise.resolve(this.#held.about);
  }

  methods(): Promise<MethodList> {
    return Promise.resolve(this.#held.methods);
  }

  classes(): Promise<readonly string[]> {
    return Promise.resolve(this.#held.classes);
  }

  imageUrl(picture: string): string {
    return this.#held.pictures.get(picture)?.image ?? '';
  }

  async prediction(picture: string): Promise<Prediction | null> {
    return this.#picture(picture).prediction ?? null;
  }

  async map({ picture, method }: MapQuery): Promise<MapResult> {
    const map = this.#picture(picture).maps.get(method);
    if (map === undefined) throw new SourceError(`there is no map by ${method} here`, 404);
    return map;
  }

  async blocks(picture: string): Promise<BlockFacts | null> {
    return this.#picture(picture).blocks ?? null;
  }

  async attention(query: {
    picture: string;
    block: number;
    query: string | number;
    direction: string;
  }): Promise<AttentionRows | null> {
    const key = `${query.block}/${query.query}/${query.direction}`;
    return this.#picture(query.picture).attention?.get(key) ?? null;
  }

  matrix(): Promise<null> {
    return Promise.resolve(null);
  }

  async importance(picture: string): Promise<Importance | null> {
    return this.#picture(picture).importance ?? null;
  }

  estimate(): Promise<Estimate> {
    return Promise.resolve({ forwards: 0, backwards: 0, seconds: 0 });
  }

  #picture(id: string): HeldPicture {
    const picture = this.#held.pictures.get(id);
    if (picture === undefined) throw new SourceError(`there is no picture ${id} here`, 404);
    return picture;
  }
}
