/** Pictures that a person drops, pastes or picks, sent to the server one by one. */

import { address, json } from '../api/client';
import { bytes as inWords } from '../format/numbers';
import { SourceError } from './source';

export interface Added {
  readonly id: string;
  readonly name: string;
}

/** Sends a picture. Throws SourceError where it is too large or no picture. */
export async function addPicture(file: File, limit: number): Promise<Added> {
  if (file.size > limit) {
    throw new SourceError(
      `${file.name} has ${inWords(file.size)}; the server takes up to ${inWords(limit)}`,
      413,
    );
  }
  return json<Added>('api/pictures', {
    method: 'POST',
    body: file,
    headers: {
      'Content-Type': file.type || 'application/octet-stream',
      'X-Filename': encodeURIComponent(file.name),
    },
  });
}

export async function forgetPicture(id: string): Promise<void> {
  await fetch(address(`api/pictures/${encodeURIComponent(id)}`), { method: 'DELETE' });
}

/** The files of a drop or of a paste. */
export function filesOf(data: DataTransfer | null): File[] {
  return [...(data?.files ?? [])];
}
