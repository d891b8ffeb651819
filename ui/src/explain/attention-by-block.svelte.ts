/** The attention rows of one query in all blocks: the block that is looked at first, its neighbours next, then the rest. */

import { asSourceError } from '../data/loaded.svelte';
import { SourceError, type AttentionQuery, type AttentionRows, type DataSource } from '../data/source';

export type RowsQuery = Omit<AttentionQuery, 'block'>;

/** Blocks by their distance from the one that is looked at. */
export function nearestFirst(blocks: number, from: number): number[] {
  return Array.from({ length: blocks }, (_, block) => block).sort(
    (a, b) => Math.abs(a - from) - Math.abs(b - from) || a - b,
  );
}

export class AttentionByBlock {
  /** Rows by block; what is not there yet is missing. */
  rows: ReadonlyMap<number, AttentionRows> = $state.raw(new Map());
  /** Why a block has no such rows: the attention of some blocks is in windows. */
  errors: ReadonlyMap<number, SourceError> = $state.raw(new Map());
  loading = $state(false);
  #turn = 0;

  /** Loads while the component lives; `ask` reads what it depends on, `near` the block that is looked at. */
  constructor(source: DataSource, blocks: () => number, ask: () => RowsQuery | null, near: () => number) {
    $effect(() => {
      const query = ask();
      const count = blocks();
      this.#turn += 1;
      this.errors = new Map();
      if (query === null || count === 0) {
        this.rows = new Map();
        this.loading = false;
        return;
      }
      void this.#load(source, query, count, near, this.#turn);
    });
  }

  async #load(
    source: DataSource,
    query: RowsQuery,
    count: number,
    near: () => number,
    turn: number,
  ): Promise<void> {
    const found = new Map<number, AttentionRows>();
    const failed = new Map<number, SourceError>();
    this.loading = true;
    while (found.size + failed.size < count) {
      await Promise.resolve();
      if (turn !== this.#turn) return;
      const next = nearestFirst(count, near()).find(
        (block) => !found.has(block) && !failed.has(block),
      ) as number;
      const answer = await source.attention({ ...query, block: next }).catch(asSourceError);
      if (turn !== this.#turn) return;
      if (answer === null) break;
      if (answer instanceof SourceError) this.errors = new Map(failed.set(next, answer));
      else this.rows = new Map(found.set(next, answer));
    }
    if (!found.size) this.rows = new Map();
    this.loading = false;
  }
}
