/**
 * A site of files: the same answers as those of the server, each under a name that `vitscope.app.site.names` gave it.
 * The page is told so by its own `<meta name="vitscope-site">`.
 */

/** What the address of an answer is made of: lists are joined by commas, and what is empty is left out. */
export type Parameters = Readonly<Record<string, string | number | readonly string[] | undefined>>;

export const SITE =
  typeof document !== 'undefined' && document.querySelector('meta[name=vitscope-site]') !== null;
/** What is said where something would have to be computed. */
export const OFF = 'this is a site of files without a model';
export const REMEDY = 'Open the study with vitscope serve to compute it.';
const PLAIN = /^[A-Za-z0-9.-]$/;

/** The parameters that are given, as text. */
export function given(parameters: Parameters): [name: string, value: string][] {
  return Object.entries(parameters)
    .map(([name, value]): [string, string] => [name, textOf(value)])
    .filter(([, value]) => value !== '');
}

function textOf(value: string | number | readonly string[] | undefined): string {
  if (value === undefined) return '';
  return typeof value === 'object' ? value.join(',') : String(value);
}

/** The name of an answer's file, without the ending where the address has none. */
export function fileOf(path: string, parameters: Parameters): string {
  const told = given(parameters)
    .sort(([first], [second]) => (first < second ? -1 : 1))
    .map(([name, value]) => `${escaped(name)}=${escaped(value)}`)
    .join(',');
  const ending = /\.(png|svg)$/.exec(path)?.[0] ?? '';
  const stem = path.slice(0, path.length - ending.length);
  return `${stem}${told ? '@' : ''}${told}${ending}`;
}

/** Letters, digits, dots and dashes as they are; any other byte as `_` and its hexadecimal digits. */
export function escaped(text: string): string {
  let written = '';
  for (const byte of new TextEncoder().encode(text)) {
    const letter = String.fromCharCode(byte);
    written += byte < 128 && PLAIN.test(letter) ? letter : `_${byte.toString(16).padStart(2, '0')}`;
  }
  return written;
}
