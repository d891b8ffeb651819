/**
 * Selections as bit masks over stable ids. A universe gives each id its bit; masks of one universe are combined word
 * by word. What leaves a mask is ids, never positions, so a selection outlives sorting, filtering and new pictures.
 */

export type Mask = Uint32Array<ArrayBuffer>;
/** How a new brush meets what is selected: alone, with shift, with alt. */
export type Operator = 'replace' | 'add' | 'remove';

export class Universe {
  readonly ids: readonly string[];
  readonly #places: ReadonlyMap<string, number>;

  constructor(ids: Iterable<string>) {
    this.ids = [...new Set(ids)];
    this.#places = new Map(this.ids.map((id, place) => [id, place]));
  }

  get size(): number {
    return this.ids.length;
  }

  none(): Mask {
    return new Uint32Array(Math.ceil(this.size / 32));
  }

  all(): Mask {
    return this.where(() => true);
  }

  /** The ids for which `test` holds, told by their place. */
  where(test: (place: number) => boolean): Mask {
    const mask = this.none();
    for (let place = 0; place < this.size; place += 1) if (test(place)) setBit(mask, place);
    return mask;
  }

  /** Ids that are not of this universe are left out. */
  of(ids: Iterable<string>): Mask {
    const mask = this.none();
    for (const id of ids) {
      const place = this.#places.get(id);
      if (place !== undefined) setBit(mask, place);
    }
    return mask;
  }

  has(mask: Mask, id: string): boolean {
    const place = this.#places.get(id);
    return place !== undefined && hasBit(mask, place);
  }

  idsOf(mask: Mask): string[] {
    return this.ids.filter((_, place) => hasBit(mask, place));
  }

  not(mask: Mask): Mask {
    return this.where((place) => !hasBit(mask, place));
  }
}

function setBit(mask: Mask, place: number): void {
  mask[place >>> 5] = (mask[place >>> 5] ?? 0) | (1 << (place & 31));
}

export function hasBit(mask: Mask, place: number): boolean {
  return (((mask[place >>> 5] ?? 0) >>> (place & 31)) & 1) === 1;
}

/** In both. */
export function and(first: Mask, second: Mask): Mask {
  return first.map((word, index) => word & (second[index] ?? 0));
}

/** In either. */
export function or(first: Mask, second: Mask): Mask {
  return first.map((word, index) => word | (second[index] ?? 0));
}

/** In the first but not in the second. */
export function without(first: Mask, second: Mask): Mask {
  return first.map((word, index) => word & ~(second[index] ?? 0));
}

export function combine(selected: Mask, brushed: Mask, operator: Operator): Mask {
  if (operator === 'add') return or(selected, brushed);
  return operator === 'remove' ? without(selected, brushed) : brushed.slice();
}

export function count(mask: Mask): number {
  let total = 0;
  for (const word of mask) {
    let rest = word;
    while (rest) {
      rest &= rest - 1;
      total += 1;
    }
  }
  return total;
}

export function isEmpty(mask: Mask): boolean {
  return mask.every((word) => word === 0);
}

export function equal(first: Mask, second: Mask): boolean {
  return first.length === second.length && first.every((word, index) => word === second[index]);
}

/** How a click with these keys held down meets what is selected. */
export function operatorOf(event: { shiftKey: boolean; altKey: boolean }): Operator {
  if (event.altKey) return 'remove';
  return event.shiftKey ? 'add' : 'replace';
}
