/** What a notebook's kernel hands over (`vitscope/app/notebook/contents.py`), as the values that the components read. */

import { decodeTensors, type Tensors } from '../codec/tensors';
import { mapOf } from '../data/answers';
import type { Held, HeldPicture } from '../data/memory';
import type { About, ClassScore, Method, MethodList, Prediction } from '../data/source';

export interface KernelMethod {
  readonly name: string;
  readonly title: string;
  readonly family: string;
  readonly summary: string;
  readonly citation: string;
  readonly signed: boolean;
  readonly class_specific: boolean;
  readonly forwards: number;
  readonly backwards: number;
  readonly steps: { readonly kind: string; readonly count: number; readonly first: number };
}

/** What is the same for every picture. */
export interface KernelAbout {
  readonly version: string;
  readonly model: {
    readonly name: string;
    readonly weights: string;
    readonly image_size: readonly number[];
    readonly grid: readonly [number, number] | null;
    readonly blocks: number;
    readonly heads: readonly number[];
    readonly prefix: readonly string[];
  };
  readonly classes: readonly string[];
  readonly pictures: readonly string[];
  readonly methods: readonly KernelMethod[];
}

interface KernelPrediction {
  readonly class: number;
  readonly name: string | null;
  readonly probability: number;
}

/** The picture that was handed over, by its place among all. */
export interface HandedOver {
  readonly index: number;
  readonly held: Held;
}

export function handedOver(about: KernelAbout, data: DataView): HandedOver {
  const whole = decodeTensors(bytesOf(data.buffer, data.byteOffset, data.byteLength));
  const index = whole.metadata['index'] as number;
  const maps = new Map(
    about.methods.flatMap(({ name }) => {
      const tensor = whole.tensors.get(`maps/${name}`)?.data;
      if (!tensor) return [];
      const own = bytesOf(tensor.buffer, tensor.byteOffset, tensor.byteLength);
      return [[name, mapOf(decodeTensors(own))] as const];
    }),
  );
  const picture: HeldPicture = { image: imageOf(whole), maps, prediction: predictionOf(whole) };
  const pictures = new Map([[String(index), picture]]);
  return {
    index,
    held: { about: aboutOf(about), methods: methodsOf(about), classes: about.classes, pictures },
  };
}

/** A copy that begins at a multiple of 8, as typed arrays need it. */
function bytesOf(buffer: ArrayBufferLike, offset: number, length: number): ArrayBuffer {
  return new Uint8Array(buffer, offset, length).slice().buffer;
}

function aboutOf({ version, model, classes }: KernelAbout): About {
  const [rows, columns] = model.grid ?? [0, 0];
  const [height = 0, width = 0] = model.image_size;
  return {
    version,
    study: null,
    unknown: {},
    beside: null,
    canCompute: false,
    whyNot: null,
    notes: [],
    uploadBytes: 0,
    video: false,
    model: {
      name: model.name,
      weights: model.weights,
      grid: model.grid ? { rows, columns } : null,
      size: [height, width],
      blocks: model.blocks,
      heads: model.heads,
      prefix: model.prefix,
      classes: classes.length || null,
      notes: [],
      extent: [0, 0, 1, 1], // each map says its own
    },
  };
}

function methodsOf({ methods }: KernelAbout): MethodList {
  const list = methods.map((method): Method => ({
    name: method.name,
    title: method.title,
    family: method.family,
    summary: method.summary,
    citation: method.citation,
    signed: method.signed,
    classSpecific: method.class_specific,
    hasFlow: method.steps.count > 0,
    forwards: method.forwards,
    backwards: method.backwards,
    passesBy: null,
    refusal: null,
    options: [],
  }));
  return { default: list[0]?.name ?? '', methods: list };
}

/** The pixels that the model saw, as an address; a single clear one where they are not kept. */
function imageOf(whole: Tensors): string {
  const tensor = whole.tensors.get('picture');
  const [height = 1, width = 1] = tensor?.shape ?? [];
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  if (tensor) {
    const pixels = new ImageData(width, height);
    for (let at = 0; at < width * height; at += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        pixels.data[4 * at + channel] = tensor.data[3 * at + channel] as number;
      }
      pixels.data[4 * at + 3] = 255;
    }
    canvas.getContext('2d')?.putImageData(pixels, 0, 0);
  }
  return canvas.toDataURL();
}

function predictionOf(whole: Tensors): Prediction {
  const found = whole.metadata['predictions'] as readonly KernelPrediction[];
  const top = found.map((each): ClassScore => ({
    class: each.class,
    name: each.name ?? `class ${each.class}`,
    probability: each.probability,
    logit: NaN,
  }));
  return { top, label: null, entropy: null, without: null };
}
