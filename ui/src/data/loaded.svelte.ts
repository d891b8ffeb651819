/** A value that is loaded again whenever what it depends on changes. */

import { SourceError } from './source';

export class Loaded<T> {
  /** The newest answer; the one before stays until the next is there. */
  value: T | null = $state.raw(null);
  error: SourceError | null = $state.raw(null);
  loading = $state(false);
  #asked = 0;
  #attempt = $state(0);

  /**
   * Asks while the component lives. `ask` reads what it depends on and returns the answer on its way, or null when
   * there is nothing to ask for. What comes late for an older question is dropped.
   */
  constructor(ask: () => Promise<T | null> | null) {
    $effect(() => {
      void this.#attempt;
      const answer = ask();
      this.#asked += 1;
      const turn = this.#asked;
      if (answer === null) {
        this.#settle(null, null);
        return;
      }
      this.loading = true;
      answer.then(
        (value) => turn === this.#asked && this.#settle(value, null),
        (reason: unknown) => turn === this.#asked && this.#settle(null, asSourceError(reason)),
      );
    });
  }

  /** Ask once more, after a failure. */
  again(): void {
    this.#attempt += 1;
  }

  #settle(value: T | null, error: SourceError | null): void {
    this.value = value;
    this.error = error;
    this.loading = false;
  }
}

export function asSourceError(reason: unknown): SourceError {
  if (reason instanceof SourceError) return reason;
  return new SourceError(reason instanceof Error ? reason.message : String(reason), 0);
}
