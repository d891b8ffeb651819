/** Asking the server: relative addresses only, problems as one clear line. */

import { SourceError } from '../data/source';
import type { paths } from './schema';

/** The JSON that a GET of a path answers. */
export type Answer<Path extends keyof paths> = paths[Path] extends {
  get: { responses: { 200: { content: { 'application/json': infer Body } } } };
}
  ? Body
  : never;

export type Parameters = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** `api/…` with its parameters; lists are joined by commas, empty ones left out. */
export function address(path: string, parameters: Parameters = {}): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    const text = Array.isArray(value) ? value.join(',') : value === undefined ? '' : String(value);
    if (text !== '') parts.set(name, text);
  }
  const query = parts.toString();
  return `${path.replace(/^\//, '')}${query ? `?${query}` : ''}`;
}

export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (reason) {
    if (init.signal?.aborted) throw reason;
    throw new SourceError('the server does not answer', 0, 'Is vitscope serve still running?');
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function json<T>(url: string, init?: RequestInit): Promise<T> {
  return (await (await ask(url, init)).json()) as T;
}

export async function bytes(url: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  return (await ask(url, signal ? { signal } : {})).arrayBuffer();
}

async function problemOf(response: Response): Promise<SourceError> {
  const problem = (await response.json().catch(() => ({}))) as { title?: string; remedy?: string | null };
  if (problem.title) return new SourceError(problem.title, response.status, problem.remedy ?? null);
  return new SourceError(
    `the server answered ${response.status} ${response.statusText}`.trim(),
    response.status,
  );
}
