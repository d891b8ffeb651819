/** What draws many points: the GPU where it is there, else the CPU, behind one small interface. */

export interface PointSet {
  /** n places, x and y one after the other; NaN for what has none. */
  readonly places: Float32Array;
  /** The colour of each, an index into the palette. */
  readonly colours: Uint8Array;
  /** 1 for what is selected. */
  readonly selected: Uint8Array;
  /** RGB, 256 at most. */
  readonly palette: Uint8Array;
  /** RGB of what is not selected. */
  readonly rest: readonly [number, number, number];
}

/** From places to the square from −1 to 1: (place − centre) · zoom. */
export interface Camera {
  readonly x: number;
  readonly y: number;
  readonly zoomX: number;
  readonly zoomY: number;
}

export interface PointRenderer {
  readonly mode: 'WebGL' | 'CPU';
  draw(points: PointSet, camera: Camera, size: number): void;
  destroy(): void;
}

/** The camera that shows all places with a little air around them. */
export function fit(places: Float32Array): Camera {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let at = 0; at < places.length; at += 2) {
    const [x, y] = [places[at] as number, places[at + 1] as number];
    if (Number.isNaN(x) || Number.isNaN(y)) continue;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < bottom) bottom = y;
    if (y > top) top = y;
  }
  if (left > right) return { x: 0, y: 0, zoomX: 1, zoomY: 1 };
  const air = 1.08;
  return {
    x: (left + right) / 2,
    y: (bottom + top) / 2,
    zoomX: 2 / (air * Math.max(right - left, 1e-9)),
    zoomY: 2 / (air * Math.max(top - bottom, 1e-9)),
  };
}

/** A place in the frame, from 0 to 1, right and down. */
export function toFrame(camera: Camera, x: number, y: number): [number, number] {
  return [((x - camera.x) * camera.zoomX + 1) / 2, (1 - (y - camera.y) * camera.zoomY) / 2];
}

export function fromFrame(camera: Camera, across: number, down: number): [number, number] {
  return [camera.x + (2 * across - 1) / camera.zoomX, camera.y + (1 - 2 * down) / camera.zoomY];
}

/** Nearer or further with what is under the pointer kept there. */
export function zoomed(camera: Camera, across: number, down: number, factor: number): Camera {
  const [x, y] = fromFrame(camera, across, down);
  const next = { ...camera, zoomX: camera.zoomX * factor, zoomY: camera.zoomY * factor };
  const [again, below] = fromFrame(next, across, down);
  return { ...next, x: next.x + x - again, y: next.y + y - below };
}
