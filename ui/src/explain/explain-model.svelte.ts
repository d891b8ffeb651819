/**
 * What is shown of what is known, and what a user does with it. A model serves one picture: with another picture comes
 * another model, so that no map ever stands on a wrong one.
 */

import type { Scaling } from '../colour/scaling';
import { suited } from '../colour/tables';
import type { Floats } from '../data/source';
import { headNames, headsOfBlock, queryName } from '../format/words';
import { Hover } from '../state/hover.svelte';
import { compareHeads, headId, type Colour, type HeadId } from '../state/view-state';
import { ExplainAnswers } from './explain-answers.svelte';
import { samePlace } from './grid-marks';
import { flowMap, flowPrefix, mapOfRow, meanRow, sharedScale, type ShownMap } from './shown-map';

export interface Steps {
  readonly of: 'block' | 'stage';
  readonly numbers: readonly number[];
}

export class ExplainModel extends ExplainAnswers {
  readonly hover = new Hover();

  /** Attention is shown as soon as it is asked for by a patch or a head; else the explanation. */
  readonly showsAttention = $derived.by(
    () => this.facts.about.canCompute && (this.view.now.query !== 'cls' || this.shownHeads.length > 0),
  );

  /** Those of the pinned heads that are in the block. */
  readonly shownHeads: readonly number[] = $derived.by(() => headsOfBlock(this.view.now.heads, this.block));

  readonly offHeads: readonly number[] = $derived.by(() => headsOfBlock(this.view.now.off, this.block));

  /** The patches that attend; a method's map may have another grid, as in networks with stages. */
  readonly grid = $derived.by(
    () =>
      this.attention.rows.get(this.block)?.grid ??
      this.facts.about.model?.grid ??
      this.map.value?.grid ??
      null,
  );

  readonly signed = $derived.by(
    () => !this.showsAttention && (this.map.value?.signed ?? this.method?.signed ?? false),
  );

  readonly colour: Colour = $derived.by(() => suited(this.view.now.colour, this.signed));

  /** The strip may show attention beside a signed map. */
  readonly stripColour: Colour = $derived.by(() =>
    suited(this.view.now.colour, this.stripShowsFlow && this.signed),
  );

  readonly wholeColour: Colour = $derived.by(() =>
    suited(this.view.now.colour, this.map.value?.signed ?? this.method?.signed ?? false),
  );

  readonly headColour: Colour = $derived.by(() => suited(this.view.now.colour, false));

  /** What the strip goes through: the blocks, or the stages that the method's flow is about. */
  readonly steps: Steps = $derived.by(() => {
    const flow = this.stripShowsFlow ? this.map.value?.flow : null;
    const staged = flow?.of === 'stage';
    // Without a model the study's flow says how many blocks there are.
    const blocks = this.blocks || (flow ? flow.first + flow.count : 0);
    const [first, count] = staged ? [flow.first, flow.count] : [0, blocks];
    return {
      of: staged ? 'stage' : 'block',
      numbers: Array.from({ length: count }, (_, step) => first + step),
    };
  });

  /** One map per step for the strip: the flow, or where the method has none the attention of the query. */
  readonly stepMaps: ReadonlyMap<number, ShownMap> = $derived.by(() => {
    const result = this.map.value;
    const maps = new Map<number, ShownMap>();
    for (const step of this.steps.numbers) {
      const values = this.stripShowsFlow && result ? flowMap(result, step) : null;
      const rows = this.stripShowsFlow ? undefined : this.attention.rows.get(step);
      if (values && result)
        maps.set(step, { grid: result.grid, values, prefix: flowPrefix(result, step, values) });
      if (rows) maps.set(step, mapOfRow(meanRow(rows, []), rows, this.prefixNames));
    }
    return maps;
  });

  readonly stripShowsFlow = $derived.by(() => !this.showsAttention && (this.method?.hasFlow ?? false));

  /** The explanation over all blocks. */
  readonly whole: ShownMap | null = $derived.by(() => {
    const result = this.map.value;
    if (!result) return null;
    return { grid: result.grid, values: result.map, prefix: result.prefix };
  });

  /** The attention of the pinned heads, or of all heads of the block where none is. */
  readonly #shownRows: ShownMap | null = $derived.by(() => {
    const rows = this.attention.rows.get(this.block);
    if (!rows) return null;
    return mapOfRow(meanRow(rows, this.shownHeads), rows, this.prefixNames);
  });

  readonly shown: ShownMap | null = $derived.by(() => {
    if (this.showsAttention) return this.#shownRows;
    const { block } = this.view.now;
    const step = this.stripShowsFlow && block !== null ? this.stepMaps.get(block) : undefined;
    return step ?? this.whole;
  });

  readonly queryWords = $derived.by(() => {
    const name = queryName(this.view.now.query, this.grid, this.prefixNames);
    return this.view.now.query === 'cls' ? `the ${name}` : name;
  });

  /** What the main map shows, in words. */
  readonly title = $derived.by(() => {
    const { direction, block } = this.view.now;
    if (!this.showsAttention) {
      const step = this.method?.hasFlow && block !== null ? `, ${this.steps.of} ${block}` : '';
      return `${this.method?.title ?? ''}${step}`;
    }
    const whose = this.queryWords;
    const asks = direction === 'out' ? `What ${whose} looks at` : `Who looks at ${whose}`;
    const inBlock = this.shownHeads.map((head) => headId(this.block, head));
    return `${asks}, block ${this.block}, ${inBlock.length ? headNames(inBlock) : 'mean over heads'}`;
  });

  /** The scale of a map of the strip, or of the whole map beside it. */
  stripScaling(own: ShownMap): Scaling {
    if (own === this.whole) return this.#scaled(own, [own], [own], this.map.value?.signed ?? false);
    return this.#scaled(own, [own], [...this.stepMaps.values()], this.stripShowsFlow && this.signed);
  }

  headScaling(own: ShownMap): Scaling {
    return this.#scaled(own, this.headMaps, [...this.stepMaps.values(), ...this.headMaps], false);
  }

  readonly shownScaling: Scaling | null = $derived.by(() => {
    const shown = this.shown;
    if (!shown) return null;
    if (!this.showsAttention) return this.stripScaling(shown);
    return this.#scaled(shown, [shown, ...this.headMaps], [...this.stepMaps.values()], false);
  });

  // By themselves, so that a step to another block does not colour every thumb again.
  readonly #scale = $derived.by(() => this.view.now.scale);
  readonly #curve = $derived.by(() => this.view.now.curve);

  #scaled(own: ShownMap, block: readonly ShownMap[], all: readonly ShownMap[], signed: boolean): Scaling {
    const values = (maps: readonly ShownMap[]): Floats[] => maps.map((map) => map.values);
    return sharedScale(own.values, values(block), values(all), this.#scale, this.#curve, signed);
  }

  /** The attention of each head of the block. */
  readonly headMaps: readonly ShownMap[] = $derived.by(() => {
    const rows = this.attention.rows.get(this.block);
    if (!rows || this.steps.of === 'stage') return [];
    return Array.from({ length: rows.heads }, (_, head) =>
      mapOfRow(meanRow(rows, [head]), rows, this.prefixNames),
    );
  });

  // ---- what a user does --------------------------------------------------------------------------------------------

  /** A block, or a stage; null is the whole map. */
  goTo(step: number | null): void {
    const { numbers } = this.steps;
    const known = step === null ? null : Math.min(Math.max(numbers[0] ?? 0, step), numbers.at(-1) ?? 0);
    this.view.set({ block: known });
  }

  /** One step on or back; from the whole map to the last one. */
  step(by: number): void {
    const { block } = this.view.now;
    this.goTo(block === null ? Infinity : block + by);
  }

  /** Click: this head alone, or none if it was alone. Shift: one more or one less. */
  pin(head: number, add: boolean): void {
    const id = headId(this.block, head);
    const { heads } = this.view.now;
    const alone = heads.length === 1 && heads[0] === id;
    const next = add ? toggled(heads, id) : alone ? [] : [id];
    this.view.set({ heads: next, block: this.block });
  }

  switchOff(ids: readonly HeadId[]): void {
    const off = ids.reduce<readonly HeadId[]>((current, id) => toggled(current, id), this.view.now.off);
    this.view.set({ off });
  }

  /** Ask about a patch of the map that is shown. */
  ask(patch: number): void {
    const from = this.shown?.grid;
    const to = this.grid;
    if (from && to) this.view.set({ query: samePlace(patch, from, to), block: this.block });
  }
}

function toggled(ids: readonly HeadId[], id: HeadId): HeadId[] {
  const others = ids.filter((other) => other !== id);
  return others.length < ids.length ? others : [...others, id].sort(compareHeads);
}
