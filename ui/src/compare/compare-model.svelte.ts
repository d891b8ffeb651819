/** What is compared: rows, columns, and the maps of their cells as they come. */

import { SvelteMap } from 'svelte/reactivity';
import { scaleOf, type Scaling } from '../colour/scaling';
import { asSourceError, Loaded } from '../data/loaded.svelte';
import type { MapQuery, MapResult, Prediction, SourceError } from '../data/source';
import type { Facts } from '../explain/explain-answers.svelte';
import type { AppState } from '../shell/app-state.svelte';
import { ranked, rowsOf, type Board, type Metric, type Row } from './rows';

/** Pictures in columns; the rest of a selection is counted. */
export const MOST = 12;
const FIRST = 4;
const CLASSES = 5;

export interface Column {
  readonly key: string;
  readonly picture: string;
  readonly target: 'predicted' | number;
  readonly words: string;
  readonly below: string;
}

/** A map that came, or why there is none. */
export type Cell = { readonly map: MapResult } | { readonly error: SourceError };

export class CompareModel {
  readonly board: Loaded<Board>;
  readonly prediction: Loaded<Prediction>;
  readonly cells = new SvelteMap<string, Cell>();
  readonly #asked = new Set<string>();

  constructor(
    readonly app: AppState,
    readonly facts: Facts,
  ) {
    this.board = new Loaded(() => app.source.board());
    this.prediction = new Loaded(() => {
      const picture = this.#first;
      return this.view.columns === 'classes' && picture ? app.source.prediction(picture, []) : null;
    });
    $effect(() => {
      for (const row of this.rows) for (const column of this.columns) this.#load(row, column);
    });
  }

  get view(): AppState['view']['now'] {
    return this.app.view.now;
  }

  get canCompute(): boolean {
    return this.facts.about.canCompute;
  }

  readonly metric: Metric | null = $derived.by(
    () => this.board.value?.metrics.find((metric) => metric.name === this.view.ranked) ?? null,
  );

  readonly rows: readonly Row[] = $derived.by(() => {
    const board = this.board.value;
    if (!board) return [];
    return ranked(rowsOf(board, this.facts.methods.methods, this.view.added, this.canCompute), this.metric);
  });

  /** The pictures that are selected; where none is, the one that is open, or the first of the study. */
  readonly chosen: readonly string[] = $derived.by(() => {
    const usable = this.app.pictures.filter((picture) => !picture.skipped);
    const known = new Set(usable.map((picture) => picture.id));
    const selected = this.view.selected.filter((id) => known.has(id));
    if (selected.length) return selected;
    return usable.slice(0, FIRST).map((picture) => picture.id);
  });

  readonly #first = $derived.by(() => {
    const open = this.view.picture;
    return this.chosen.includes(open ?? '') || !this.view.selected.length
      ? (open ?? this.chosen[0] ?? null)
      : (this.chosen[0] ?? null);
  });

  readonly columns: readonly Column[] = $derived.by(() => {
    if (this.view.columns === 'classes') {
      const picture = this.app.picture(this.#first);
      if (!picture) return [];
      return (this.prediction.value?.top.slice(0, CLASSES) ?? []).map((score) => ({
        key: `${picture.id}:${score.class}`,
        picture: picture.id,
        target: score.class,
        words: score.name,
        below: `${(100 * score.probability).toFixed(1)} %`,
      }));
    }
    return this.chosen.slice(0, MOST).map((id) => {
      const picture = this.app.picture(id);
      return {
        key: id,
        picture: id,
        target: 'predicted',
        words: picture?.name ?? id,
        below: picture?.prediction ?? '',
      };
    });
  });

  cell(row: Row, column: Column): Cell | null {
    return this.cells.get(`${row.name}/${column.key}`) ?? null;
  }

  mapOf(row: Row, column: Column): MapResult | null {
    const cell = this.cell(row, column);
    return cell && 'map' in cell ? cell.map : null;
  }

  /** Own: each map over its own range. Shared: all maps of a row, which are of one method and so of one unit. */
  scaling(row: Row, map: MapResult): Scaling {
    if (!this.view.shared) return scaleOf(map.map, this.view.curve, map.signed);
    const maps = this.columns.map((column) => this.mapOf(row, column)).filter((each) => each !== null);
    const values = new Float32Array(maps.reduce((sum, each) => sum + each.map.length, 0));
    let at = 0;
    for (const each of maps) {
      values.set(each.map, at);
      at += each.map.length;
    }
    return scaleOf(values, this.view.curve, map.signed);
  }

  /** Asked once; a failure is kept beside the others until it is asked again. */
  #load(row: Row, column: Column): void {
    const key = `${row.name}/${column.key}`;
    if (row.refusal !== null || this.#asked.has(key)) return;
    this.#asked.add(key);
    const method = this.facts.methods.methods.find((known) => known.name === row.name);
    const target = method?.classSpecific === false ? 'predicted' : column.target;
    const query: MapQuery = { picture: column.picture, method: row.name, options: {}, target, off: [] };
    const kept = row.kept && target === 'predicted' && this.app.picture(column.picture)?.added !== true;
    this.app.source.cell(query, kept).then(
      (map) => this.cells.set(key, { map }),
      (reason: unknown) => this.cells.set(key, { error: asSourceError(reason) }),
    );
  }
}
