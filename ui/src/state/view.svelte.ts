/** The view that everything subscribes to: set in one place, linked with the URL, undone and redone. */

import { readView, writeView } from '../codec/view-url';
import { begin, record, redo, undo, type History } from './history';
import { INITIAL, type ViewState } from './view-state';

/** Changes of the same kind within so many milliseconds are one step of undo and of Back. */
const MERGE_WITHIN = 900;

export class ViewStore {
  #history: History<ViewState> = $state.raw(begin(INITIAL));
  #last = { kind: '', at: 0 };
  /** Called after each change; `merge` as for `change`. */
  onchange: (view: ViewState, merge: boolean) => void = () => undefined;

  constructor(initial: ViewState = INITIAL) {
    this.#history = begin(initial);
  }

  get now(): ViewState {
    return this.#history.present;
  }

  get canUndo(): boolean {
    return this.#history.past.length > 0;
  }

  get canRedo(): boolean {
    return this.#history.future.length > 0;
  }

  /**
   * Change some of it. Quick changes of the same kind (a slider, a film) become one step: of the same fields, where no
   * kind is told.
   */
  set(change: Partial<ViewState>, kind = Object.keys(change).sort().join()): void {
    const next = { ...this.now, ...change };
    if (writeView(next) === writeView(this.now)) return;
    const at = performance.now();
    const merge = kind === this.#last.kind && at - this.#last.at < MERGE_WITHIN;
    this.#last = { kind, at };
    this.#history = record(this.#history, next, merge);
    this.onchange(next, merge);
  }

  /** What came from outside, such as Back or another hand-written hash: it is not to be written to the URL again. */
  follow(view: ViewState): void {
    if (writeView(view) !== writeView(this.now)) this.#history = record(this.#history, view);
  }

  undo(): void {
    this.#step(undo(this.#history));
  }

  redo(): void {
    this.#step(redo(this.#history));
  }

  #step(history: History<ViewState>): void {
    if (history === this.#history) return;
    this.#history = history;
    this.#last = { kind: '', at: 0 };
    this.onchange(history.present, false);
  }
}

/** A view that stands in the page's URL: each step is one of Back's, and Back is followed. Returns what ends it. */
export function linkWithUrl(store: ViewStore): () => void {
  const write = (view: ViewState, merge: boolean): void => {
    const url = `#${writeView(view)}`;
    if (merge) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
  };
  const follow = (): void => store.follow(readView(location.hash));
  store.onchange = write;
  history.replaceState(null, '', `#${writeView(store.now)}`);
  window.addEventListener('popstate', follow);
  window.addEventListener('hashchange', follow);
  return () => {
    window.removeEventListener('popstate', follow);
    window.removeEventListener('hashchange', follow);
  };
}
