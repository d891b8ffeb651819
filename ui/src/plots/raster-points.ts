/** Points drawn by the CPU into the pixels of a canvas: what stays when there is no GPU, and as exact. */

import type { Camera, PointRenderer, PointSet } from './points';

export class RasterPoints implements PointRenderer {
  readonly mode = 'CPU';
  readonly #context: CanvasRenderingContext2D;

  /** Throws where the canvas has no 2D context. */
  constructor(readonly canvas: HTMLCanvasElement) {
    const context = canvas.getContext('2d');
    if (!context) throw new Error('this browser draws on no canvas');
    this.#context = context;
  }

  draw(points: PointSet, camera: Camera, size: number): void {
    const { width, height } = this.canvas;
    const image = this.#context.createImageData(width, height);
    paint(image.data, width, height, points, camera, size);
    this.#context.putImageData(image, 0, 0);
  }

  destroy(): void {
    // A canvas without GPU holds nothing that must be given back.
  }
}

/** Squares of `size` pixels, what is selected above all others. */
export function paint(
  pixels: Uint8ClampedArray,
  width: number,
  height: number,
  { places, colours, selected, palette, rest }: PointSet,
  camera: Camera,
  size: number,
): void {
  const words = new Uint32Array(pixels.buffer, pixels.byteOffset, width * height);
  const opaque = (red: number, green: number, blue: number): number =>
    ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const grey = opaque(...rest);
  const side = Math.max(1, Math.round(size));
  for (const pass of [0, 1]) {
    for (let point = 0; point < selected.length; point += 1) {
      if (selected[point] !== pass) continue;
      const x = ((places[2 * point] as number) - camera.x) * camera.zoomX;
      const y = ((places[2 * point + 1] as number) - camera.y) * camera.zoomY;
      const left = Math.round(((x + 1) / 2) * width - side / 2);
      const top = Math.round(((1 - y) / 2) * height - side / 2);
      if (!(left > -side && top > -side && left < width && top < height)) continue;
      const at = 3 * (colours[point] as number);
      const colour = pass
        ? opaque(palette[at] as number, palette[at + 1] as number, palette[at + 2] as number)
        : grey;
      for (let row = Math.max(0, top); row < Math.min(height, top + side); row += 1) {
        const start = row * width;
        words.fill(colour, start + Math.max(0, left), start + Math.min(width, left + side));
      }
    }
  }
}
