/** Which points are where: the nearest to the pointer, and those within a lasso. */

/** Points sorted into the cells of a square grid, so that the nearest is looked for in a few of them. */
export class Nearest {
  readonly #places: Float32Array;
  readonly #starts: Uint32Array;
  readonly #order: Uint32Array;
  readonly #side: number;
  readonly #box: readonly [left: number, bottom: number, width: number, height: number];

  constructor(places: Float32Array) {
    const count = places.length / 2;
    this.#places = places;
    this.#side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(count / 4))));
    this.#box = boxOf(places);
    const cells = new Int32Array(count).fill(-1);
    const starts = new Uint32Array(this.#side * this.#side + 1);
    for (let point = 0; point < count; point += 1) {
      const [x, y] = [places[2 * point] as number, places[2 * point + 1] as number];
      if (Number.isNaN(x) || Number.isNaN(y)) continue;
      const cell = this.#row(y) * this.#side + this.#column(x);
      cells[point] = cell;
      starts[cell + 1] = (starts[cell + 1] as number) + 1;
    }
    for (let cell = 1; cell < starts.length; cell += 1) {
      starts[cell] = (starts[cell] as number) + (starts[cell - 1] as number);
    }
    const next = starts.slice();
    this.#order = new Uint32Array(starts.at(-1) as number);
    for (let point = 0; point < count; point += 1) {
      const cell = cells[point] as number;
      if (cell < 0) continue;
      this.#order[next[cell] as number] = point;
      next[cell] = (next[cell] as number) + 1;
    }
    this.#starts = starts;
  }

  /** The nearest point to a place within `width` and `height`, as an ellipse; null where there is none. */
  at(x: number, y: number, width: number, height: number): number | null {
    let [best, found] = [1, null as number | null];
    for (let row = this.#row(y - height); row <= this.#row(y + height); row += 1) {
      const first = row * this.#side;
      const from = this.#starts[first + this.#column(x - width)] as number;
      const to = this.#starts[first + this.#column(x + width) + 1] as number;
      for (let at = from; at < to; at += 1) {
        const point = this.#order[at] as number;
        const across = ((this.#places[2 * point] as number) - x) / width;
        const up = ((this.#places[2 * point + 1] as number) - y) / height;
        const distance = across * across + up * up;
        if (distance <= best) [best, found] = [distance, point];
      }
    }
    return found;
  }

  #column(x: number): number {
    return cellOf((x - this.#box[0]) / this.#box[2], this.#side);
  }

  #row(y: number): number {
    return cellOf((y - this.#box[1]) / this.#box[3], this.#side);
  }
}

function cellOf(share: number, side: number): number {
  return Math.min(side - 1, Math.max(0, Math.floor(share * side)));
}

function boxOf(places: Float32Array): [number, number, number, number] {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let at = 0; at < places.length; at += 2) {
    const [x, y] = [places[at] as number, places[at + 1] as number];
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < bottom) bottom = y;
    if (y > top) top = y;
  }
  if (left > right) return [0, 0, 1, 1];
  return [left, bottom, right - left || 1, top - bottom || 1];
}

/** The points within a polygon of x and y one after the other, by the rule of even crossings. */
export function within(places: Float32Array, polygon: ArrayLike<number>): Uint32Array<ArrayBuffer> {
  const corners = polygon.length / 2;
  const [left, bottom, width, height] = boxOf(Float32Array.from(polygon));
  const found: number[] = [];
  for (let point = 0; point < places.length / 2; point += 1) {
    const [x, y] = [places[2 * point] as number, places[2 * point + 1] as number];
    if (!(x >= left && x <= left + width && y >= bottom && y <= bottom + height)) continue;
    let inside = false;
    for (let corner = 0, last = corners - 1; corner < corners; last = corner, corner += 1) {
      const [ax, ay] = [polygon[2 * corner] as number, polygon[2 * corner + 1] as number];
      const [bx, by] = [polygon[2 * last] as number, polygon[2 * last + 1] as number];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    if (inside) found.push(point);
  }
  return Uint32Array.from(found);
}

/** Points whose squares of `side` pixels lie in the frame and over no other one: the first come first, `most` of them. */
export function apart(
  points: readonly number[],
  spot: (point: number) => readonly [number, number],
  width: number,
  height: number,
  side: number,
  most: number,
): number[] {
  const found: number[] = [];
  const columns = Math.ceil(width / side) + 2;
  const taken = new Map<number, readonly [number, number]>();
  for (const point of points) {
    if (found.length === most) break;
    const [x, y] = spot(point);
    if (!(x >= side / 2 && y >= side / 2 && x <= width - side / 2 && y <= height - side / 2)) continue;
    const cell = (1 + Math.floor(y / side)) * columns + 1 + Math.floor(x / side);
    const free = [-1, 0, 1].every((across) =>
      [-1, 0, 1].every((down) => {
        const other = taken.get(cell + down * columns + across);
        return !other || Math.abs(other[0] - x) >= side || Math.abs(other[1] - y) >= side;
      }),
    );
    if (!free) continue;
    taken.set(cell, [x, y]);
    found.push(point);
  }
  return found;
}
