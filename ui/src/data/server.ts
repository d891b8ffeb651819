/** The server behind the page as a source of data. */

import { address, bytes, json, type Answer } from '../api/client';
import { SITE } from '../api/files';
import { decodeTensors, floats, type Tensors } from '../codec/tensors';
import type { HeadId } from '../state/view-state';
import {
  aboutOf,
  blocksOf,
  importanceOf,
  mapOf,
  matrixOf,
  methodsOf,
  picturesOf,
  predictionOf,
  rowsOf,
} from './answers';
import { Cache } from './cache';
import type {
  About,
  AttentionMatrix,
  AttentionQuery,
  AttentionRows,
  BlockFacts,
  DataSource,
  Estimate,
  Floats,
  Importance,
  MapQuery,
  MapResult,
  MethodList,
  Picture,
  Prediction,
} from './source';

/** Blocks × directions × a few queries stay at hand: going back and forth asks nothing. */
const KEPT = 400;

export class ServerSource implements DataSource {
  /** Whether there is a model to ask; else there is only what a study keeps. */
  computes = true;
  #framed = true;
  readonly #kept = new Cache<unknown>(KEPT);
  #asked = { url: '', leave: new AbortController() };

  /** `base`: below which path a study has its addresses that lies beside the first one. */
  constructor(readonly base = '') {}

  async about(): Promise<About> {
    const about = aboutOf(await json<Answer<'/api/about'>>(`${this.base}api/about`));
    this.#framed = about.model !== null;
    return about;
  }

  async methods(): Promise<MethodList> {
    return methodsOf(await json<Answer<'/api/methods'>>(`${this.base}api/methods`));
  }

  async classes(): Promise<readonly string[]> {
    const { names, count } = await json<Answer<'/api/classes'>>(`${this.base}api/classes`);
    return names ?? Array.from({ length: count ?? 0 }, (_, index) => `class ${index}`);
  }

  /** The pictures that are known, and how many there are with those of a study that are not computed yet. */
  async pictures(): Promise<{ known: Picture[]; total: number }> {
    const answer = await json<Answer<'/api/pictures'>>(`${this.base}api/pictures`);
    return { known: picturesOf(answer), total: answer.total };
  }

  /** How alike every picture of the study is to one, by its row; NaN where that is not known. */
  async similarity(picture: string): Promise<Floats> {
    return this.#tensors(`${this.#of(picture)}/similarity`, (tensors) => floats(tensors, 'similarity').data);
  }

  imageUrl(picture: string): string {
    return this.#framed ? address(`${this.#of(picture)}/image.png`, { size: 'model' }) : '';
  }

  /** The whole picture, for where it is not known what the model sees of it. */
  wholeUrl(picture: string): string {
    return address(`${this.#of(picture)}/image.png`, { size: 'full' });
  }

  thumbnailUrl(picture: string, method?: string): string {
    return address(`${this.#of(picture)}/thumbnail.png`, { map: method });
  }

  prediction(picture: string, off: readonly HeadId[]): Promise<Prediction> {
    return this.#json<Answer<'/api/pictures/{id}/prediction'>, Prediction>(
      address(`${this.#of(picture)}/prediction`, { off, top: 5 }),
      predictionOf,
    );
  }

  /** Nobody waits any more for the map that was asked for before: leaving it lets the server stop computing it. */
  map(query: MapQuery): Promise<MapResult> {
    const url = address(`${this.#of(query.picture)}/map`, mapParameters(query));
    if (this.#asked.url !== url) {
      this.#asked.leave.abort();
      this.#asked = { url, leave: new AbortController() };
    }
    return this.#tensors(url, mapOf, this.#asked.leave.signal);
  }

  async blocks(picture: string, off: readonly HeadId[]): Promise<BlockFacts | null> {
    if (!this.computes) return null;
    return this.#json<Answer<'/api/pictures/{id}/blocks'>, BlockFacts>(
      address(`${this.#of(picture)}/blocks`, { off }),
      blocksOf,
    );
  }

  async attention({ picture, ...rest }: AttentionQuery): Promise<AttentionRows | null> {
    if (!this.computes) return null;
    return this.#tensors(address(`${this.#of(picture)}/attention`, rest), rowsOf);
  }

  matrix(picture: string, block: number, head: number, off: readonly HeadId[]): Promise<AttentionMatrix> {
    return this.#tensors(address(`${this.#of(picture)}/matrix`, { block, head, off }), matrixOf);
  }

  async importance(picture: string): Promise<Importance | null> {
    if (!this.computes) return null;
    return this.#tensors(address(`${this.base}api/heads/importance`, { picture }), importanceOf);
  }

  board(): Promise<Answer<'/api/compare/board'>> {
    return this.#json(`${this.base}api/compare/board`, (board: Answer<'/api/compare/board'>) => board);
  }

  agreement(measure: string): Promise<Answer<'/api/compare/agreement'>> {
    type Found = Answer<'/api/compare/agreement'>;
    return this.#json(address(`${this.base}api/compare/agreement`, { measure }), (found: Found) => found);
  }

  /** What is said of the two studies that are held against each other. */
  models(): Promise<Answer<'/api/compare/models'>> {
    return this.#json('api/compare/models', (found: Answer<'/api/compare/models'>) => found);
  }

  /** One of many maps beside each other: `kept` takes it as the study keeps it, nothing is computed then. */
  cell(query: MapQuery, kept: boolean): Promise<MapResult> {
    const parameters = { ...mapParameters(query), kept: kept && !SITE ? 'true' : '' };
    return this.#tensors(address(`${this.#of(query.picture)}/map`, parameters), mapOf);
  }

  estimate(query: MapQuery): Promise<Estimate> {
    return json<Answer<'/api/estimate'>>(
      address(`${this.base}api/estimate`, { picture: query.picture, ...mapParameters(query) }),
    );
  }

  #of(picture: string): string {
    return `${this.base}api/pictures/${encodeURIComponent(picture)}`;
  }

  #json<Body, T>(url: string, read: (body: Body) => T): Promise<T> {
    return this.#kept.get(url, async () => read(await json<Body>(url))) as Promise<T>;
  }

  #tensors<T>(url: string, read: (tensors: Tensors) => T, signal?: AbortSignal): Promise<T> {
    return this.#kept.get(url, async () => read(decodeTensors(await bytes(url, signal)))) as Promise<T>;
  }
}

function mapParameters({
  method,
  options,
  target,
  off,
}: MapQuery): Record<string, string | readonly string[]> {
  const given = Object.keys(options).length ? JSON.stringify(options) : '';
  return { method, options: given, target: String(target), off };
}
