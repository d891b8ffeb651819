/** The attention rows of one query in all blocks: the block that is looked at first, its neighbours next, then the rest. */

import { asSourceError } from '../data/loaded.svelte';
import type { AttentionQuery, AttentionRows, DataSource, SourceError } from '../data/source';

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
  error: SourceError | null = $state.raw(null);
  loading = $state(false);
  #turn = 0;

  /** Loads while the component lives; `ask` reads what it depends on, `near` the block that is looked at. */
  constructor(source: DataSource, blocks: () => number, ask: () => RowsQuery | null, near: () => number) {
    $effect(() => {
      const query = ask();
      const count = blocks();
      this.#turn += 1;
      this.error = null;
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
    this.loading = true;
    try {
      while (found.size < count) {
        await Promise.resolve();
        if (turn !== this.#turn) return;
        const next = nearestFirst(count, near()).find((block) => !found.has(block)) as number;
        const rows = await source.attention({ ...query, block: next });
        if (turn !== this.#turn) return;
        if (rows === null) break;
        found.set(next, rows);
        this.rows = new Map(found);
      }
      if (!found.size) this.rows = new Map();
    } catch (reason) {
      if (turn === this.#turn) {
        this.rows = new Map();
        this.error = asSourceError(reason);
      }
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }
}
