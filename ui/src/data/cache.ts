/** Answers that are asked for again: the last few are kept, and what is under way is not asked for twice. */

export class Cache<T> {
  readonly #kept = new Map<string, Promise<T>>();
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  /** What is kept under the key, or what `load` gives. A failure is not kept. */
  get(key: string, load: () => Promise<T>): Promise<T> {
    const known = this.#kept.get(key);
    this.#kept.delete(key);
    const answer = known ?? load();
    this.#kept.set(key, answer);
    if (known === undefined) {
      answer.catch(() => this.#kept.get(key) === answer && this.#kept.delete(key));
      if (this.#kept.size > this.#size) this.#kept.delete(this.#kept.keys().next().value as string);
    }
    return answer;
  }

  clear(): void {
    this.#kept.clear();
  }

  get size(): number {
    return this.#kept.size;
  }
}
