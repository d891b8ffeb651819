/** What the whole page shares: the server, the view, the list of pictures, messages. */

import { asSourceError } from '../data/loaded.svelte';
import { ServerSource } from '../data/server';
import { SourceError, type Picture } from '../data/source';
import { addPicture, forgetPicture } from '../data/uploads';
import type { Facts } from '../explain/explain-answers.svelte';
import { Jobs } from '../state/jobs.svelte';
import type { ViewStore } from '../state/view.svelte';

export class AppState {
  readonly source = new ServerSource();
  /** The study that lies beside, where one does. */
  beside: ServerSource | null = null;
  readonly jobs = new Jobs();
  facts: Facts | null = $state.raw(null);
  pictures: readonly Picture[] = $state.raw([]);
  /** With the pictures of a study that are not computed yet. */
  total = $state(0);
  /** How many pictures the library's filters leave. */
  left = $state(0);
  error: SourceError | null = $state.raw(null);
  /** A word that something has been done, such as "Link copied". */
  message = $state('');
  #shut = 0;

  constructor(readonly view: ViewStore) {}

  async start(): Promise<void> {
    try {
      const [about, methods, classes, pictures] = await Promise.all([
        this.source.about(),
        this.source.methods(),
        this.source.classes(),
        this.source.pictures(),
      ]);
      this.source.computes = about.canCompute;
      this.beside ??= about.beside && new ServerSource(about.beside.base);
      this.facts = { about, methods, classes };
      this.pictures = pictures.known;
      this.total = pictures.total;
      this.error = null;
      if (about.canCompute) void this.predictAdded();
    } catch (reason) {
      this.error = asSourceError(reason);
    }
  }

  say(message: string): void {
    this.message = message;
    clearTimeout(this.#shut);
    this.#shut = window.setTimeout(() => (this.message = ''), 4000);
  }

  picture(id: string | null): Picture | null {
    return this.pictures.find((picture) => picture.id === id) ?? null;
  }

  /** Takes pictures in and explains the first of them. */
  async add(files: readonly File[]): Promise<void> {
    const limit = this.facts?.about.uploadBytes ?? Infinity;
    this.error = null;
    if (this.facts && !this.facts.about.canCompute) {
      const why = this.facts.about.whyNot ?? 'there is no model';
      this.error = new SourceError(`a picture that is added cannot be explained here: ${why}`, 503);
      return;
    }
    for (const [index, file] of files.entries()) {
      try {
        const added = await addPicture(file, limit);
        if (index === 0)
          this.view.set({ screen: 'explain', picture: added.id, query: 'cls', heads: [], off: [] });
      } catch (reason) {
        this.error = asSourceError(reason);
      }
    }
    const listed = await this.source.pictures().catch(() => null);
    if (listed) [this.pictures, this.total] = [listed.known, listed.total];
    void this.predictAdded();
  }

  /** What the model says of added pictures, one after the other; the list is filled in as it comes. */
  async predictAdded(): Promise<void> {
    for (const { id } of this.pictures.filter(
      (one) => one.added && one.prediction === null && !one.skipped,
    )) {
      const answer = await this.source.prediction(id, []).catch(() => null);
      const best = answer?.top[0];
      if (!answer || !best) continue;
      const known = { prediction: best.name, confidence: best.probability, entropy: answer.entropy };
      this.pictures = this.pictures.map((one) => (one.id === id ? { ...one, ...known } : one));
    }
  }

  async forget(id: string): Promise<void> {
    await forgetPicture(id);
    this.pictures = this.pictures.filter((picture) => picture.id !== id);
    this.total -= 1;
    const { now } = this.view;
    if (now.picture === id) this.view.set({ picture: null });
  }

  /** Compare methods on a picture, beside those that are selected. */
  compare(id: string): void {
    const { selected } = this.view.now;
    this.view.set({ screen: 'compare', selected: selected.includes(id) ? selected : [...selected, id] });
  }

  /** Open the explanation of a picture, with the same method and class settings but nothing pinned to the one before. */
  explain(id: string): void {
    const { now } = this.view;
    const other = now.picture !== id;
    this.view.set({
      screen: 'explain',
      picture: id,
      ...(other ? { target: 'predicted' as const, query: 'cls' as const } : {}),
    });
  }
}
