/**
 * The binary answers of the server: a JSON header and raw little-endian arrays.
 *
 * `VST1` · uint32 header length · header, padded with spaces · arrays, each at a multiple of 8 bytes. An array's offset
 * counts from the end of the header.
 */

export type DType = 'float32' | 'uint8' | 'uint16' | 'uint32' | 'int32';
export type TypedArray = Float32Array | Uint8Array | Uint16Array | Uint32Array | Int32Array;

export interface Tensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

export interface Tensors {
  /** All of the header but the list of tensors. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

export class TensorFormatError extends Error {}

const MAGIC = 0x31545356; // "VST1", read as little-endian uint32
const KINDS = {
  float32: Float32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  int32: Int32Array,
} as const;

interface Entry {
  name: string;
  dtype: DType;
  shape: number[];
  offset: number;
  bytes: number;
}

/** The tensors of an answer; their data are views of `buffer`, nothing is copied. Throws TensorFormatError. */
export function decodeTensors(buffer: ArrayBuffer): Tensors {
  if (buffer.byteLength < 8) throw new TensorFormatError('the answer is too short to hold tensors');
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC) throw new TensorFormatError('the answer does not start with VST1');
  const length = view.getUint32(4, true);
  const start = 8 + length;
  if (start > buffer.byteLength) throw new TensorFormatError('the header is longer than the answer');
  const { tensors: entries, ...metadata } = readHeader(new Uint8Array(buffer, 8, length));
  const tensors = new Map(entries.map((entry) => [entry.name, viewOf(buffer, start, entry)]));
  return { metadata, tensors };
}

function readHeader(bytes: Uint8Array): { tensors: Entry[]; [key: string]: unknown } {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new TensorFormatError('the header is not JSON');
  }
  const found = header as { tensors?: unknown } | null;
  if (typeof found !== 'object' || found === null || !Array.isArray(found.tensors)) {
    throw new TensorFormatError('the header has no list of tensors');
  }
  return found as { tensors: Entry[] };
}

function viewOf(buffer: ArrayBuffer, start: number, { name, dtype, shape, offset, bytes }: Entry): Tensor {
  const kind = KINDS[dtype];
  if (kind === undefined) throw new TensorFormatError(`${name}: unknown numbers ${String(dtype)}`);
  const count = shape.reduce((product, size) => product * size, 1);
  if (count * kind.BYTES_PER_ELEMENT !== bytes) {
    throw new TensorFormatError(`${name}: ${bytes} bytes do not hold ${shape.join(' × ')} ${dtype}`);
  }
  if ((start + offset) % 8 !== 0 || start + offset + bytes > buffer.byteLength) {
    throw new TensorFormatError(`${name}: lies outside the answer`);
  }
  return { name, dtype, shape, data: new kind(buffer, start + offset, count) };
}

/** A tensor of float32 by name. Throws TensorFormatError when there is none. */
export function floats(
  tensors: Tensors,
  name: string,
): { shape: readonly number[]; data: Float32Array<ArrayBuffer> } {
  const tensor = tensors.tensors.get(name);
  if (tensor === undefined) throw new TensorFormatError(`the answer has no ${name}`);
  if (!(tensor.data instanceof Float32Array)) throw new TensorFormatError(`${name} is not float32`);
  return { shape: tensor.shape, data: tensor.data as Float32Array<ArrayBuffer> };
}
