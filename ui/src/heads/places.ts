/**
 * Sets of whole numbers as short text: runs of neighbours, each as the gap before it and its length, in base 128, then
 * base64url. What stands in a link and in the history is this text.
 */

export function writeNumbers(sorted: Iterable<number>): string {
  const bytes: number[] = [];
  const put = (value: number): void => {
    let rest = value;
    while (rest >= 128) {
      bytes.push((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
  };
  let [start, end, last] = [-1, -1, 0];
  const close = (): void => {
    if (start < 0) return;
    put(start - last);
    put(end - start);
    last = end;
  };
  for (const value of sorted) {
    if (start >= 0 && value === end) {
      end += 1;
      continue;
    }
    close();
    [start, end] = [value, value + 1];
  }
  close();
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.slice(at, at + 8192));
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The numbers of a text, in their order; null for what is none. */
export function readNumbers(text: string, most = 100_000_000): Uint32Array<ArrayBuffer> | null {
  let bytes: string;
  try {
    bytes = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  } catch {
    return null;
  }
  const runs: number[] = [];
  let [value, factor] = [0, 1];
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes.charCodeAt(at);
    value += (byte & 127) * factor;
    factor *= 128;
    if (value > most) return null;
    if (byte < 128) {
      runs.push(value);
      [value, factor] = [0, 1];
    }
  }
  if (factor !== 1 || runs.length % 2) return null;
  let [total, place] = [0, 0];
  for (let run = 0; run < runs.length; run += 2) {
    total += runs[run + 1] as number;
    place += (runs[run] as number) + (runs[run + 1] as number);
  }
  if (place > most) return null;
  const found = new Uint32Array(total);
  let [at, next] = [0, 0];
  for (let run = 0; run < runs.length; run += 2) {
    next += runs[run] as number;
    for (let step = 0; step < (runs[run + 1] as number); step += 1) {
      found[at] = next;
      at += 1;
      next += 1;
    }
  }
  return found;
}
