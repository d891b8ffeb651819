import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeTensors, floats, TensorFormatError, type DType } from '../src/codec/tensors';

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}

/** The format written out a second time, straight from its description. */
function encoded(
  header: Record<string, unknown>,
  arrays: readonly { name: string; data: Float32Array }[],
): ArrayBuffer {
  let offset = 0;
  const entries = arrays.map(({ name, data }) => {
    const entry = { name, dtype: 'float32', shape: [data.length], offset, bytes: data.byteLength };
    offset += Math.ceil(data.byteLength / 8) * 8;
    return entry;
  });
  let text = new TextEncoder().encode(JSON.stringify({ tensors: entries, ...header }));
  const padded = new Uint8Array(Math.ceil((text.length + 8) / 8) * 8 - 8).fill(32);
  padded.set(text);
  text = padded;
  const bytes = new Uint8Array(8 + text.length + offset);
  bytes.set(new TextEncoder().encode('VST1'));
  new DataView(bytes.buffer).setUint32(4, text.length, true);
  bytes.set(text, 8);
  arrays.forEach(({ data }, index) => {
    const at = 8 + text.length + (entries[index]?.offset ?? 0);
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
  });
  return bytes.buffer;
}

describe('tensors written by Python', () => {
  const decoded = decodeTensors(bufferOf(readFileSync(new URL('./fixtures/tensors.bin', import.meta.url))));
  const values = decoded.metadata.values as Record<string, number[]>;

  it('have the metadata of their header', () => {
    expect(decoded.metadata.method).toBe('dart');
    expect(decoded.metadata.note).toBe('größer als π');
    expect(decoded.metadata.tensors).toBeUndefined();
  });

  it.each<[string, DType, number[]]>([
    ['map', 'float32', [3, 5]],
    ['levels', 'uint8', [7]],
    ['wide', 'uint16', [1, 2]],
    ['large', 'uint32', [2]],
    ['signed', 'int32', [2]],
    ['empty', 'float32', [0, 4]],
  ])('%s has its type, shape and values', (name, dtype, shape) => {
    const tensor = decoded.tensors.get(name);
    expect(tensor?.dtype).toBe(dtype);
    expect(tensor?.shape).toEqual(shape);
    expect(Array.from(tensor?.data ?? [])).toEqual(values[name]);
  });

  it('are views of the answer, not copies', () => {
    const buffer = encoded({}, [{ name: 'map', data: Float32Array.of(1, 2) }]);
    expect(floats(decodeTensors(buffer), 'map').data.buffer).toBe(buffer);
  });
});

describe('the decoder', () => {
  it('reads back whatever arrays are written', () => {
    const array = fc.float32Array({ minLength: 0, maxLength: 20 });
    fc.assert(
      fc.property(fc.array(array, { maxLength: 5 }), fc.string(), (datas, note) => {
        const arrays = datas.map((data, index) => ({ name: `tensor ${index}`, data }));
        const decoded = decodeTensors(encoded({ note }, arrays));
        expect(decoded.metadata.note).toBe(note);
        for (const { name, data } of arrays) expect(floats(decoded, name).data).toEqual(data);
      }),
    );
  });

  it('refuses whatever is cut off, with one kind of error', () => {
    const whole = new Uint8Array(encoded({ note: 'n' }, [{ name: 'map', data: Float32Array.of(1, 2, 3) }]));
    for (let length = 0; length < whole.length - 4; length += 1) {
      expect(() => decodeTensors(bufferOf(whole.subarray(0, length)))).toThrow(TensorFormatError);
    }
  });

  it.each([
    ['another beginning', (bytes: Uint8Array) => bytes.fill(65, 0, 1)],
    ['a header that is no JSON', (bytes: Uint8Array) => bytes.fill(65, 8, 9)],
    ['a header that is too long', (bytes: Uint8Array) => bytes.fill(255, 4, 8)],
  ])('refuses %s', (_, damage) => {
    const bytes = new Uint8Array(encoded({}, [{ name: 'map', data: Float32Array.of(1) }]));
    damage(bytes);
    expect(() => decodeTensors(bufferOf(bytes))).toThrow(TensorFormatError);
  });

  it('says which array is missing', () => {
    expect(() => floats(decodeTensors(encoded({}, [])), 'flow')).toThrow('the answer has no flow');
  });
});
