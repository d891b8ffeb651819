/** Joins a notebook's kernel and a view: what is chosen on the page stands in Python, what is set there shows here. */

import { INITIAL, type ViewState } from '../state/view-state';
import { ViewStore } from '../state/view.svelte';
import { handedOver, type HandedOver, type KernelAbout } from './kernel';

/** The page's half of an anywidget: the traits of the kernel's object. */
export interface KernelModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, listener: () => void): void;
  off(event: string, listener: () => void): void;
}

/** Parts of the view that the kernel knows, by the same names. */
const SHARED = [
  'method',
  'block',
  'scale',
  'curve',
  'opacity',
  'smooth',
] as const satisfies readonly (keyof ViewState)[];

export class KernelLink {
  readonly view: ViewStore;
  readonly about: KernelAbout;
  /** The picture that is here. */
  over: HandedOver = $state.raw() as HandedOver;
  /** The picture that was asked for. */
  wanted = $state(0);
  /** Patches that are chosen. */
  selection: readonly number[] = $state.raw([]);
  readonly #model: KernelModel;
  readonly #listeners: [event: string, listener: () => void][] = [];

  constructor(model: KernelModel) {
    this.#model = model;
    this.about = model.get('_about') as KernelAbout;
    this.over = handedOver(this.about, model.get('_data') as DataView);
    this.wanted = model.get('picture') as number;
    this.selection = model.get('selection') as number[];
    this.view = new ViewStore({
      ...INITIAL,
      screen: 'explain',
      picture: String(this.over.index),
      ...this.#shared(),
    });
    this.view.onchange = (view) => this.#tell(Object.fromEntries(SHARED.map((name) => [name, view[name]])));
    for (const name of SHARED) this.#on(name, () => this.#follow(this.#shared()));
    this.#on('selection', () => (this.selection = model.get('selection') as number[]));
    this.#on('picture', () => (this.wanted = model.get('picture') as number));
    this.#on('_data', () => {
      this.over = handedOver(this.about, model.get('_data') as DataView);
      this.#follow({ picture: String(this.over.index) });
    });
  }

  /** Ask the kernel for another picture. */
  show(picture: number): void {
    this.wanted = picture;
    this.#tell({ picture });
  }

  /** Click: this patch alone, or none if it was alone. Shift: one more or one less. */
  pick(patch: number, add: boolean): void {
    const others = this.selection.filter((other) => other !== patch);
    const chosen = others.length < this.selection.length;
    const next = add ? (chosen ? others : [...others, patch]) : chosen && !others.length ? [] : [patch];
    this.selection = next.toSorted((first, second) => first - second);
    this.#tell({ selection: this.selection });
  }

  end(): void {
    for (const [event, listener] of this.#listeners) this.#model.off(event, listener);
  }

  #shared(): Partial<ViewState> {
    return Object.fromEntries(SHARED.map((name) => [name, this.#model.get(name)]));
  }

  #follow(change: Partial<ViewState>): void {
    this.view.follow({ ...this.view.now, ...change });
  }

  /** What differs goes to the kernel. */
  #tell(values: Readonly<Record<string, unknown>>): void {
    const changed = Object.entries(values).filter(([name, value]) => !same(this.#model.get(name), value));
    for (const [name, value] of changed) this.#model.set(name, value);
    if (changed.length) this.#model.save_changes();
  }

  #on(trait: string, listener: () => void): void {
    this.#model.on(`change:${trait}`, listener);
    this.#listeners.push([`change:${trait}`, listener]);
  }
}

function same(first: unknown, second: unknown): boolean {
  return JSON.stringify(first) === JSON.stringify(second);
}
