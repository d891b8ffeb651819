/** What the four views share: numbers of every head, what is brushed, and what each view does. */

import { SITE } from '../api/files';
import { Loaded } from '../data/loaded.svelte';
import type { Floats, Picture } from '../data/source';
import type { Facts } from '../explain/explain-answers.svelte';
import type { AppState } from '../shell/app-state.svelte';
import { headId, type HeadId } from '../state/view-state';
import {
  brushed,
  countsOf,
  emptyMask,
  headPlace,
  namedBy,
  selectedPoints,
  setBit,
  type Brush,
  type Points,
  type Resolved,
} from './brushes';
import { clusterMask, onMap } from './codes-on-map';
import { askResponse, askTable, HeadsData, type HeadTable, type Metric } from './heads-data.svelte';
import type { HeadsView } from './heads-view';
import { writeNumbers } from './places';
import { rowsText, withDistances } from './numbers-of-heads';

/** Shown first where the study has it. */
const FIRST = ['js_divergence', 'class_cosine_last', 'first_order'];

export class HeadsModel {
  readonly data = new HeadsData();
  hoveredHead: number | null = $state(null);
  hoveredRow: number | null = $state(null);
  hoveredPoint: number | null = $state(null);

  constructor(
    readonly app: AppState,
    readonly facts: Facts,
  ) {}

  readonly view: HeadsView = $derived.by(() => this.app.view.now.dashboard);

  /** Each change is a step of its own; those of a slider are one. */
  set(change: Partial<HeadsView>, sliding = false): void {
    this.#steps += sliding ? 0 : 1;
    this.app.view.set({ dashboard: { ...this.view, ...change } }, `dashboard ${this.#steps}`);
  }
  #steps = 0;

  // ---- heads ---------------------------------------------------------------------------------------------------
  readonly headCounts: readonly number[] = $derived.by(() => this.data.about.value?.heads ?? []);
  readonly blocks = $derived.by(() => this.headCounts.length);
  readonly width = $derived.by(() => Math.max(0, ...this.headCounts));
  readonly places = $derived.by(() => this.blocks * this.width);
  /** The heads that there are, counted through all blocks. */
  readonly known: readonly number[] = $derived.by(() =>
    Array.from({ length: this.places }, (_, place) => place).filter(
      (place) => place % this.width < (this.headCounts[Math.floor(place / this.width)] ?? 0),
    ),
  );

  nameOf(place: number): HeadId {
    return headId(Math.floor(place / this.width), place % this.width);
  }

  placeOf(id: HeadId): number | null {
    return headPlace(id, this.headCounts);
  }

  readonly pinned: number | null = $derived.by(() =>
    this.view.pinned ? this.placeOf(this.view.pinned) : null,
  );

  // ---- numbers of heads ----------------------------------------------------------------------------------------
  /** Over the pictures that are selected, where some are. */
  readonly some = new Loaded(() => {
    const { rows } = this;
    return SITE || rows === '' || this.data.why('importance') ? null : askTable(rows);
  });
  readonly table: HeadTable | null = $derived.by(() =>
    withDistances(
      (this.rows === '' ? null : this.some.value) ?? this.data.table.value,
      this.data.strength.value,
      this.data.atlas.value,
      this.places,
      this.width,
    ),
  );
  readonly metrics: readonly Metric[] = $derived.by(() => this.table?.metrics ?? []);
  readonly metric: Metric | null = $derived.by(
    () =>
      this.#named(this.view.metric) ??
      FIRST.map((name) => this.#named(name)).find(Boolean) ??
      this.metrics[0] ??
      null,
  );
  readonly second: Metric | null = $derived.by(() => this.#named(this.view.second) ?? null);
  readonly values: Floats = $derived.by(() => this.valuesOf(this.metric));
  readonly secondValues: Floats | null = $derived.by(() => (this.second ? this.valuesOf(this.second) : null));

  #named(name: string | null): Metric | undefined {
    return this.metrics.find((metric) => metric.name === name);
  }

  valuesOf(metric: Metric | null, side: 'mean' | 'low' | 'high' = 'mean'): Floats {
    const at = this.metrics.findIndex((one) => one.name === metric?.name);
    if (at < 0 || !this.table) return new Float32Array(this.places).fill(NaN);
    return this.table[side].subarray(at * this.places, (at + 1) * this.places);
  }

  // ---- pictures ------------------------------------------------------------------------------------------------
  readonly rowOf: ReadonlyMap<string, number> = $derived.by(() => {
    const { ids, rows } = this.data.pictures.value ?? { ids: [], rows: new Uint32Array() };
    return new Map(ids.map((id, index) => [id, rows[index] as number]));
  });
  readonly #byId = $derived.by(() => new Map(this.app.pictures.map((picture) => [picture.id, picture])));
  /** By row. */
  readonly pictureOf: ReadonlyMap<number, Picture> = $derived.by(
    () =>
      new Map(
        [...this.rowOf]
          .map(([id, row]) => [row, this.#byId.get(id)] as const)
          .filter((pair): pair is [number, Picture] => pair[1] !== undefined),
      ),
  );
  readonly rowCount = $derived.by(() =>
    (this.data.pictures.value?.rows ?? new Uint32Array()).reduce((most, row) => Math.max(most, row + 1), 0),
  );

  // ---- what is brushed -----------------------------------------------------------------------------------------
  readonly #points: Points = $derived.by(() => {
    const size = { rows: this.rowCount, heads: this.places };
    const all = emptyMask(size);
    for (const row of this.data.pictures.value?.rows ?? []) {
      for (const head of this.known) setBit(all, row * size.heads + head);
    }
    return { ...size, all };
  });
  /** Those of the library first, then those of this screen. */
  readonly brushes: readonly Brush[] = $derived.by(() => {
    const rows = this.app.view.now.selected
      .map((id) => this.rowOf.get(id))
      .filter((row) => row !== undefined);
    const library: Brush[] = rows.length
      ? [{ op: 'and', kind: 'pictures', rows: writeNumbers(rows.sort((a, b) => a - b)) }]
      : [];
    return [...library, ...this.view.brushes];
  });
  readonly mask = $derived.by(() =>
    selectedPoints(this.#points, this.brushes, (brush) => this.#resolve(brush)),
  );
  readonly counts = $derived.by(() => countsOf(this.#points, this.mask));
  /** The same on the map of codes; null without patterns. */
  readonly onMap = $derived.by(() => {
    const codes = this.data.codes.value;
    return codes ? onMap(codes, this.mask, this.places) : null;
  });
  readonly pictureTotal = $derived.by(() => this.data.pictures.value?.rows.length ?? 0);
  readonly total = $derived.by(() => this.pictureTotal * this.known.length);
  readonly selectedHeads: readonly number[] = $derived.by(() =>
    this.known.filter((place) => (this.counts.heads[place] ?? 0) > 0),
  );
  readonly selectedRows: readonly number[] = $derived.by(() =>
    [...(this.data.pictures.value?.rows ?? [])].filter((row) => (this.counts.rows[row] ?? 0) > 0),
  );
  /** The rows that are selected as the server reads them; nothing where all are. */
  readonly rows: string = $derived.by(() =>
    this.selectedRows.length === this.pictureTotal || !this.#picturesBrushed
      ? ''
      : rowsText(this.selectedRows),
  );
  /** Whether pictures were chosen, rather than left over by a brush among patterns. */
  readonly #picturesBrushed = $derived.by(() => this.brushes.some((brush) => brush.kind === 'pictures'));
  readonly headsBrushed = $derived.by(() => this.selectedHeads.length < this.known.length);

  /**
   * Where heads alone are brushed all pictures have as many of them; then those come first on which these heads matter
   * most, by the metric on screen or, where that is not known of single pictures, by the first one that is.
   */
  readonly response = new Loaded(() => {
    const metrics = this.data.table.value?.metrics ?? [];
    const metric = metrics.find(({ name }) => name === this.metric?.name) ?? metrics[0];
    const counts = new Set(this.selectedRows.map((row) => this.counts.rows[row]));
    if (SITE || !metric || !this.headsBrushed || counts.size !== 1) return null;
    return askResponse(metric.name, this.selectedHeads.map((place) => this.nameOf(place)).join());
  });
  /** The rows of the selected pictures, those first that are selected most, or that respond most. */
  readonly orderedRows: readonly number[] = $derived.by(() => {
    const strength = this.response.value?.of;
    const of = (row: number): number =>
      strength?.get(row) ?? (strength ? -Infinity : (this.counts.rows[row] ?? 0));
    return [...this.selectedRows].sort((a, b) => of(b) - of(a) || a - b);
  });

  /** The share of a head's points that is selected. */
  share(place: number): number {
    return (this.counts.heads[place] ?? 0) / Math.max(1, this.pictureTotal);
  }

  #resolve(brush: Brush): Resolved {
    const named = namedBy(brush, (id) => this.placeOf(id));
    if (named) return named;
    if (brush.kind === 'hops') return { heads: this.headsWithin(brush.from, brush.to, brush.least) };
    if (brush.kind === 'class') return { heads: this.headsAtClass(brush.least) };
    const codes = this.data.codes.value;
    if (brush.kind !== 'cluster' || !codes) return {};
    return { mask: clusterMask(codes, brush.cluster, this.#points) };
  }

  headsWithin(from: number, to: number, least: number): number[] {
    return this.known.filter((place) => this.massWithin(place, from, to) >= least);
  }

  /** How much of its attention a head gives to patches some hops away. */
  massWithin(place: number, from: number, to: number): number {
    const mass = this.data.strength.value?.arrays.mass;
    const hops = mass?.shape[2] ?? 0;
    const start = this.profilePlace(place) * hops;
    let sum = 0;
    for (let hop = from; hop <= Math.min(to, hops - 1); hop += 1) sum += mass?.data[start + hop] ?? NaN;
    return sum;
  }

  /** Where a head's profile lies: only blocks with attention between patches have one. */
  profilePlace(place: number): number {
    const strength = this.data.strength.value;
    const row = strength?.blocks.indexOf(Math.floor(place / this.width)) ?? -1;
    return row < 0 ? NaN : row * (strength?.arrays.mass?.shape[1] ?? 0) + (place % this.width);
  }

  headsAtClass(least: number): number[] {
    const given = this.data.strength.value?.arrays.to_prefix;
    const prefix = given?.shape[2] ?? 0;
    return this.known.filter((place) => (given?.data[this.profilePlace(place) * prefix] ?? NaN) >= least);
  }

  /** The place of a code among all points: codes are there for computed rows only. */
  pointPlace(index: number): number {
    const row = this.data.codes.value?.rows[Math.floor(index / this.places)] ?? 0;
    return row * this.places + (index % this.places);
  }

  // ---- what a user does ----------------------------------------------------------------------------------------
  brush(next: Brush, sliding = false): void {
    this.set({ brushes: brushed(this.view.brushes, next) }, sliding);
  }

  /** A click on a head: pinned, and selected alone; once more, and it stays pinned alone. */
  choose(place: number, op: Brush['op']): void {
    const id = this.nameOf(place);
    const { brushes } = this.view;
    const again = brushes.some((one) => one.op === 'and' && one.kind === 'heads' && one.heads.join() === id);
    if (op === 'and' && again) {
      this.set({ pinned: id, brushes: brushes.filter((one) => one.kind !== 'heads') });
    } else {
      this.set({ pinned: id, brushes: brushed(brushes, { op, kind: 'heads', heads: [id] }) });
    }
  }
}
