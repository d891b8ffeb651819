/** Files and Python of exactly what is on screen; the server makes them. */

import { address, ask } from '../api/client';
import { writeView } from '../codec/view-url';
import type { ViewState } from '../state/view-state';

export interface ExportItem {
  readonly words: string;
  readonly format: string;
  readonly scale?: number;
}

export const EXPORTS: readonly ExportItem[] = [
  { words: 'PNG', format: 'png', scale: 1 },
  { words: 'PNG 2×', format: 'png', scale: 2 },
  { words: 'PNG 4×', format: 'png', scale: 4 },
  { words: 'SVG', format: 'svg' },
  { words: 'GIF', format: 'gif' },
  { words: 'WebM', format: 'webm' },
  { words: 'CSV', format: 'csv' },
  { words: 'Parquet', format: 'parquet' },
];

/** A file's name that tells what is in it: the picture, the method, the block. */
export function fileName(picture: string, method: string, view: ViewState): string {
  const stem = picture.replace(/\.[a-z]{2,5}$/i, '').replace(/[^\p{L}\p{N}_-]+/gu, '-');
  const patch = view.query === 'cls' ? '' : `-patch-${view.query}`;
  const block = view.block === null ? '' : `-block-${view.block}`;
  return `${stem}-${method}${block}${patch}`;
}

/** Asks for the file and hands it to the browser's downloads. Throws SourceError. */
export async function download({ format, scale }: ExportItem, view: ViewState, name: string): Promise<void> {
  const response = await ask(address(`api/export/${format}`, { view: writeView(view), scale }));
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement('a');
  link.href = url;
  link.download = `${name}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export async function pythonOf(view: ViewState): Promise<string> {
  return (await ask(address('api/python', { view: writeView(view) }))).text();
}

/** Puts text on the clipboard; false where the browser does not let a page do that. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
