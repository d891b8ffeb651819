/** The keys of the Explain screen. */

import { headId, type ViewState } from '../state/view-state';
import type { ExplainModel } from './explain-model.svelte';

export interface ExplainKeys {
  readonly model: ExplainModel;
  readonly togglePlay: () => void;
}

export interface KeyHelp {
  readonly keys: string;
  readonly does: string;
}

export const EXPLAIN_HELP: readonly KeyHelp[] = [
  { keys: '← →', does: 'one block back or on' },
  { keys: 'Home End', does: 'first or last block' },
  { keys: 'w', does: 'the whole map, over all blocks' },
  { keys: 'Space', does: 'play or pause the blocks' },
  { keys: '0 … 9', does: 'show that head of the block alone; once more: all' },
  { keys: 'x', does: 'switch the shown heads off or on' },
  { keys: 'c', does: 'ask for the class token again' },
  { keys: 'd', does: 'turn the direction: looks at, is looked at by' },
  { keys: 'a', does: 'open or close the attention drawer' },
  { keys: 'p', does: 'photo under the map or map alone' },
  { keys: 'm', does: 'nearest or smooth' },
  { keys: '+ −', does: 'more or less opacity' },
  { keys: 'Esc', does: 'back to the explanation' },
  { keys: '↑ ↓ ← → Enter', does: 'on the map: move the cursor, ask about the patch' },
];

/** Acts on a key; false where it is none of these. */
export function pressExplain(key: string, { model, togglePlay }: ExplainKeys): boolean {
  const { view } = model;
  const { now } = view;
  const set = (change: Partial<ViewState>): void => view.set(change);
  const acts: Record<string, () => void> = {
    ArrowLeft: () => model.step(-1),
    ArrowRight: () => model.step(1),
    Home: () => model.goTo(0),
    End: () => model.goTo(Infinity),
    w: () => model.goTo(null),
    ' ': togglePlay,
    x: () => model.switchOff(model.shownHeads.map((head) => headId(model.block, head))),
    c: () => set({ query: 'cls' }),
    d: () => set({ direction: now.direction === 'out' ? 'in' : 'out' }),
    a: () => set({ drawer: !now.drawer }),
    p: () => set({ ground: now.ground === 'photo' ? 'plain' : 'photo' }),
    m: () => set({ smooth: !now.smooth }),
    '+': () => set({ opacity: Math.min(1, Math.round(20 * now.opacity + 1) / 20) }),
    '-': () => set({ opacity: Math.max(0, Math.round(20 * now.opacity - 1) / 20) }),
    Escape: () => set({ query: 'cls', heads: [] }),
  };
  const act = /^\d$/.test(key) ? () => model.pin(Number(key), false) : acts[key];
  if (!act) return false;
  act();
  return true;
}
