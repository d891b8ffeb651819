/** What blocks, heads and patches are called: counted from 0, as on the command line. */

import type { Grid } from '../data/source';
import { compareHeads, headParts, type HeadId, type Query } from '../state/view-state';

export function patchName(patch: number, grid: Grid): string {
  return `patch (${Math.floor(patch / grid.columns)}, ${patch % grid.columns})`;
}

export function queryName(query: Query, grid: Grid | null, prefix: readonly string[]): string {
  if (query === 'cls') return prefix[0] ?? 'mean of all tokens';
  return grid ? patchName(query, grid) : `patch ${query}`;
}

/** "heads 3.1, 5.0", short above four. */
export function headNames(ids: readonly HeadId[]): string {
  const sorted = [...ids].sort(compareHeads);
  const shown = sorted.slice(0, 4).join(', ');
  const more = sorted.length > 4 ? ` and ${sorted.length - 4} more` : '';
  return `${sorted.length === 1 ? 'head' : 'heads'} ${shown}${more}`;
}

/** The heads of a block among `ids`, by their number. */
export function headsOfBlock(ids: readonly HeadId[], block: number): number[] {
  return ids
    .map(headParts)
    .filter((part) => part.block === block)
    .map((part) => part.head);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return count === 1 ? one : many;
}
