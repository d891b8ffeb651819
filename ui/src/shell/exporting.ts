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

/** Asks for the file and hands it to the browser's downloads. Throws SourceError. */
export async function download({ format, scale }: ExportItem, view: ViewState): Promise<void> {
  const response = await ask(address(`api/export/${format}`, { view: writeView(view), scale }));
  const named = /filename="?([^";]+)"?/.exec(response.headers.get('Content-Disposition') ?? '')?.[1];
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement('a');
  link.href = url;
  link.download = named ?? `vitscope.${format}`;
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
