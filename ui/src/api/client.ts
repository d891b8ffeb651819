/** Asking the server, or the files of a site: relative addresses only, problems as one clear line. */

import { SourceError } from '../data/source';
import { fileOf, given, OFF, REMEDY, SITE, type Parameters } from './files';
import type { paths } from './schema';

/** The JSON that a GET of a path answers. */
export type Answer<Path extends keyof paths> = paths[Path] extends {
  get: { responses: { 200: { content: { 'application/json': infer Body } } } };
}
  ? Body
  : never;

/** `api/…` with its parameters; in a site of files the name of a file, see `files.ts`. */
export function address(path: string, parameters: Parameters = {}): string {
  const relative = path.replace(/^\//, '');
  if (SITE) return fileOf(relative, parameters);
  const query = new URLSearchParams(given(parameters)).toString();
  return `${relative}${query ? `?${query}` : ''}`;
}

export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (reason) {
    if (init.signal?.aborted) throw reason;
    const remedy = SITE ? 'Is the site still there?' : 'Is vitscope serve still running?';
    throw new SourceError('the server does not answer', 0, remedy);
  }
  if (response.ok) return response;
  if (SITE && response.status === 404) throw new SourceError(OFF, 404, REMEDY);
  throw await problemOf(response);
}

export async function json<T>(url: string, init?: RequestInit): Promise<T> {
  return (await (await ask(SITE ? `${url}.json` : url, init)).json()) as T;
}

export async function bytes(url: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await ask(SITE ? `${url}.bin` : url, signal ? { signal } : {})).arrayBuffer();
}

async function problemOf(response: Response): Promise<SourceError> {
  const problem = (await response.json().catch(() => ({}))) as { title?: string; remedy?: string | null };
  if (problem.title) return new SourceError(problem.title, response.status, problem.remedy ?? null);
  return new SourceError(
    `the server answered ${response.status} ${response.statusText}`.trim(),
    response.status,
  );
}
