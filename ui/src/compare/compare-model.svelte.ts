/** What is compared: rows, columns, and the maps of their cells as they come. */

import { SvelteMap } from 'svelte/reactivity';
import { scaleOf, type Scaling } from '../colour/scaling';
import { asSourceError, Loaded } from '../data/loaded.svelte';
import type { ServerSource } from '../data/server';
import type { MapQuery, MapResult, Prediction, SourceError } from '../data/source';
import type { Facts } from '../explain/explain-answers.svelte';
import type { AppState } from '../shell/app-state.svelte';
import { FewAtATime } from './few-at-a-time';
import { joined, type Models } from './models';
import { ranked, rowsOf, type Board, type Metric, type Row } from './rows';
import { ownSide, sideBeside, type Side } from './sides';

/** Pictures in columns; the rest of a selection is counted. */
export const MOST = 12;
const FIRST = 4;
/** Of two models, so that their scores stand beside them. */
const FIRST_OF_MODELS = 3;
/** Maps that are computed at a time, for each model. */
const COMPUTED = 2;
const CLASSES = 5;

export interface Column {
  readonly key: string;
  readonly picture: string;
  readonly target: 'predicted' | number;
  readonly words: string;
  readonly below: string;
  /** Whose map it is: of the study that is shown, or of the one beside. */
  readonly side: Side;
}

/** A map that came, or why there is none. */
export type Cell = { readonly map: MapResult } | { readonly error: SourceError };

export class CompareModel {
  readonly board: Loaded<Board>;
  readonly prediction: Loaded<Prediction>;
  /** The study beside, and what is said of the two; asked for when models are compared. */
  readonly beside: Loaded<Side>;
  readonly models: Loaded<Models>;
  readonly cells = new SvelteMap<string, Cell>();
  readonly #asked = new Set<string>();
  readonly #computed = new Map<ServerSource, FewAtATime>();

  constructor(
    readonly app: AppState,
    readonly facts: Facts,
  ) {
    this.board = new Loaded(() => app.source.board());
    this.models = new Loaded(() => (this.ofModels ? app.source.models() : null));
    this.beside = new Loaded(() => {
      const other = facts.about.beside;
      return this.ofModels && other && app.beside ? sideBeside(app.beside, other.names[1]) : null;
    });
    this.prediction = new Loaded(() => {
      const picture = this.#first;
      return this.view.columns === 'classes' && picture ? app.source.prediction(picture, []) : null;
    });
    $effect(() => () => this.#computed.forEach((queue) => queue.clear()));
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

  get ofModels(): boolean {
    return this.view.columns === 'models';
  }

  readonly loading = $derived.by(() => this.board.loading || this.models.loading || this.beside.loading);

  /** The models that are looked at: one, or two that are held against each other. */
  readonly sides: readonly Side[] = $derived.by(() => {
    const board = this.board.value;
    if (!board) return [];
    const own = ownSide(this.app, this.facts, board, this.facts.about.beside?.names[0] ?? '');
    if (!this.ofModels) return [own];
    return this.beside.value ? [own, this.beside.value] : [];
  });

  /** The metrics of the columns on the right: of the study, or those by which two are compared. */
  readonly metrics: readonly Metric[] = $derived.by(() =>
    this.ofModels ? (this.models.value?.metrics ?? []) : (this.board.value?.metrics ?? []),
  );

  readonly metric: Metric | null = $derived.by(
    () => this.metrics.find((metric) => metric.name === this.view.ranked) ?? null,
  );

  /** The rows of each side, by their names. */
  readonly #rowsOfSides: readonly ReadonlyMap<string, Row>[] = $derived.by(() => {
    const names = joined(this.sides.map((side) => side.board.methods.map((method) => method.name)));
    return this.sides.map(({ board, methods, about }) => {
      const rows = rowsOf(board, methods, this.view.added, about.canCompute, names);
      return new Map(rows.map((row): [string, Row] => [row.name, row]));
    });
  });

  readonly rows: readonly Row[] = $derived.by(() =>
    ranked([...(this.#rowsOfSides[0]?.values() ?? [])], this.metric),
  );

  /** The pictures that are selected; where none is, the first of the study. Of models, those that both have. */
  readonly chosen: readonly string[] = $derived.by(() => {
    const known = (id: string): boolean => this.sides.every((side) => side.pictures.has(id));
    const asked = this.view.selected.filter((id) => this.app.picture(id)?.skipped === null);
    if (asked.length) return asked.filter(known);
    const first = this.ofModels ? FIRST_OF_MODELS : FIRST;
    return [...(this.sides[0]?.pictures.keys() ?? [])].filter(known).slice(0, first);
  });

  /** How many pictures are selected, whether or not both models have them. */
  readonly selected: number = $derived.by(
    () => this.view.selected.filter((id) => this.app.picture(id)?.skipped === null).length,
  );

  readonly #first = $derived.by(() => {
    const open = this.view.picture;
    return this.chosen.includes(open ?? '') || !this.view.selected.length
      ? (open ?? this.chosen[0] ?? null)
      : (this.chosen[0] ?? null);
  });

  /** The pictures of the columns. */
  readonly shown: readonly string[] = $derived.by(() =>
    this.chosen.slice(0, Math.floor(MOST / Math.max(1, this.sides.length))),
  );

  readonly columns: readonly Column[] = $derived.by(() => {
    const own = this.sides[0];
    if (!own) return [];
    if (this.view.columns === 'classes') {
      const picture = this.app.picture(this.#first);
      if (!picture) return [];
      return (this.prediction.value?.top.slice(0, CLASSES) ?? []).map((score) => ({
        key: `${picture.id}:${score.class}`,
        picture: picture.id,
        target: score.class,
        words: score.name,
        below: `${(100 * score.probability).toFixed(1)} %`,
        side: own,
      }));
    }
    return this.shown.flatMap((id) =>
      this.sides.map((side, place): Column => {
        const picture = side.pictures.get(id);
        return {
          key: place ? `beside:${id}` : id,
          picture: id,
          target: 'predicted',
          words: this.ofModels ? side.name : (picture?.name ?? id),
          below: picture?.prediction ?? '',
          side,
        };
      }),
    );
  });

  /** The columns as a selection, with another picture or without one. */
  select(id: string, taken: boolean): void {
    const now = this.view.selected.length ? this.view.selected : this.shown;
    const others = now.filter((each) => each !== id);
    this.app.view.set({ selected: taken ? others : [...others, id] });
  }

  /** Whether a column is the first of its picture, of two models. */
  begins(column: Column): boolean {
    return this.ofModels && column.side === this.sides[0];
  }

  /** The row of a method as it is for the model of a column: whether there is a map, and why not. */
  rowOf(row: Row, column: Column): Row {
    return this.#rowsOfSides[this.sides.indexOf(column.side)]?.get(row.name) ?? row;
  }

  cell(row: Row, column: Column): Cell | null {
    return this.cells.get(`${row.name}/${column.key}`) ?? null;
  }

  mapOf(row: Row, column: Column): MapResult | null {
    const cell = this.cell(row, column);
    return cell && 'map' in cell ? cell.map : null;
  }

  /** What a cell is called where it is spoken of. */
  wordsOf(row: Row, column: Column): string {
    const name = this.ofModels ? `${column.side.pictures.get(column.picture)?.name ?? ''} by ` : '';
    return `${row.name}, ${name}${column.words}`;
  }

  /** All maps of a row: of one method, and so of one unit. */
  readonly #ofRows: ReadonlyMap<string, Scaling> = $derived.by(
    () => new Map(this.rows.flatMap((row) => this.#scaled(row.name, this.#maps([row])))),
  );

  /** All maps with a sign, and all without: values without one are on no scale with a zero in its middle. */
  readonly ofAll: readonly Scaling[] = $derived.by(() => {
    const maps = this.#maps(this.rows);
    return [false, true].flatMap((signed) =>
      this.#scaled(
        '',
        maps.filter((map) => map.signed === signed),
      ).map(([, scaling]) => scaling),
    );
  });

  /** Own: each map over its own range. Else over that of its row, or of all maps that have a sign as it has. */
  scaling(row: Row, map: MapResult): Scaling {
    const own = (): Scaling => scaleOf(map.map, this.view.curve, map.signed);
    if (this.view.shared === 'own') return own();
    if (this.view.shared === 'method') return this.#ofRows.get(row.name) ?? own();
    return this.ofAll.find((scaling) => scaling.diverging === map.signed) ?? own();
  }

  /** The scale of a row, where its maps share one of their own. */
  rowScaling(row: Row): Scaling | null {
    return this.view.shared === 'method' ? (this.#ofRows.get(row.name) ?? null) : null;
  }

  #maps(rows: readonly Row[]): MapResult[] {
    return rows.flatMap((row) =>
      this.columns.map((column) => this.mapOf(row, column)).filter((map) => map !== null),
    );
  }

  #scaled(name: string, maps: readonly MapResult[]): [string, Scaling][] {
    const [first] = maps;
    if (!first) return [];
    const values = new Float32Array(maps.reduce((sum, { map }) => sum + map.length, 0));
    let at = 0;
    for (const { map } of maps) {
      values.set(map, at);
      at += map.length;
    }
    return [[name, scaleOf(values, this.view.curve, first.signed)]];
  }

  /** Asked once; a failure is kept beside the others until it is asked again. */
  #load(row: Row, column: Column): void {
    const key = `${row.name}/${column.key}`;
    const { refusal, kept: keeps } = this.rowOf(row, column);
    if (refusal !== null || this.#asked.has(key)) return;
    this.#asked.add(key);
    const { side } = column;
    const method = side.methods.find((known) => known.name === row.name);
    const target = method?.classSpecific === false ? 'predicted' : column.target;
    const query: MapQuery = { picture: column.picture, method: row.name, options: {}, target, off: [] };
    const kept = keeps && target === 'predicted' && side.pictures.get(column.picture)?.added !== true;
    const ask = (): Promise<unknown> =>
      side.source.cell(query, kept).then(
        (map) => this.cells.set(key, { map }),
        (reason: unknown) => this.cells.set(key, { error: asSourceError(reason) }),
      );
    if (kept) void ask();
    else this.#queueOf(side.source).add(ask);
  }

  #queueOf(source: ServerSource): FewAtATime {
    const queue = this.#computed.get(source) ?? new FewAtATime(COMPUTED);
    this.#computed.set(source, queue);
    return queue;
  }
}
