/** What a selection does to the codes of all maps, in one go over them: a brush must answer within a tenth of a second. */

import { emptyMask } from './brushes';
import { NO_CLUSTER, type Codes } from './heads-data.svelte';
import type { Mask } from '../state/selection';

export interface OnMap {
  /** 1 for each code that is selected. */
  readonly selected: Uint8Array;
  /** Of each pattern, how many codes there are and how many are selected. */
  readonly all: Uint32Array;
  readonly chosen: Uint32Array;
  readonly total: number;
  readonly totalChosen: number;
}

export function onMap({ rows, clusters }: Codes, mask: Mask, heads: number): OnMap {
  const selected = new Uint8Array(clusters.length);
  const all = new Uint32Array(NO_CLUSTER + 1);
  const chosen = new Uint32Array(NO_CLUSTER + 1);
  let index = 0;
  for (const row of rows) {
    let place = row * heads;
    for (let head = 0; head < heads; head += 1, index += 1, place += 1) {
      const bit = ((mask[place >>> 5] as number) >>> (place & 31)) & 1;
      const cluster = clusters[index] as number;
      selected[index] = bit;
      all[cluster] = (all[cluster] as number) + 1;
      chosen[cluster] = (chosen[cluster] as number) + bit;
    }
  }
  const none = all[NO_CLUSTER] as number;
  const noneChosen = chosen[NO_CLUSTER] as number;
  return {
    selected,
    all,
    chosen,
    total: clusters.length - none,
    totalChosen: chosen.reduce((sum, count) => sum + count, 0) - noneChosen,
  };
}

/** The points of a pattern. */
export function clusterMask(
  { rows, clusters }: Codes,
  cluster: number,
  size: { rows: number; heads: number },
): Mask {
  const mask = emptyMask(size);
  let index = 0;
  for (const row of rows) {
    let place = row * size.heads;
    for (let head = 0; head < size.heads; head += 1, index += 1, place += 1) {
      if (clusters[index] === cluster)
        mask[place >>> 5] = (mask[place >>> 5] as number) | (1 << (place & 31));
    }
  }
  return mask;
}
