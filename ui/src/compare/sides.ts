/** What the maps of one model come from: the study that is shown, or the one that lies beside it. */

import type { ServerSource } from '../data/server';
import type { About, Method, Picture } from '../data/source';
import type { AppState } from '../shell/app-state.svelte';
import type { Facts } from '../explain/explain-answers.svelte';
import type { Board } from './rows';

export interface Side {
  /** Empty where there is one model only. */
  readonly name: string;
  readonly source: ServerSource;
  readonly about: About;
  readonly methods: readonly Method[];
  readonly board: Board;
  /** Those that can be read, by their ids. */
  readonly pictures: ReadonlyMap<string, Picture>;
}

export function byId(pictures: readonly Picture[]): Map<string, Picture> {
  return new Map(
    pictures.filter((picture) => !picture.skipped).map((picture): [string, Picture] => [picture.id, picture]),
  );
}

export function ownSide(app: AppState, facts: Facts, board: Board, name: string): Side {
  const { about, methods } = facts;
  return { name, source: app.source, about, methods: methods.methods, board, pictures: byId(app.pictures) };
}

/** All that is known of the study beside. */
export async function sideBeside(source: ServerSource, name: string): Promise<Side> {
  const [about, methods, board, pictures] = await Promise.all([
    source.about(),
    source.methods(),
    source.board(),
    source.pictures(),
  ]);
  source.computes = about.canCompute;
  return { name, source, about, methods: methods.methods, board, pictures: byId(pictures.known) };
}
