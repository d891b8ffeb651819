/** Work that waits its turn: a browser has few connections to a server, and pictures need some of them. */

export class FewAtATime {
  readonly #waiting: (() => Promise<unknown>)[] = [];
  #running = 0;

  constructor(readonly most: number) {}

  /** Begins the work when its turn comes, in the order in which it was given. */
  add(work: () => Promise<unknown>): void {
    this.#waiting.push(work);
    this.#next();
  }

  /** Forgets what has not begun. */
  clear(): void {
    this.#waiting.length = 0;
  }

  #next(): void {
    while (this.#running < this.most) {
      const work = this.#waiting.shift();
      if (!work) return;
      this.#running += 1;
      void work().finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }
}
