/** What is chosen, as chips that can each be taken away. */

import { brushWords } from '../heads/brush-words';
import { fixed } from '../format/numbers';
import { headNames, queryName } from '../format/words';
import type { Grid } from '../data/source';
import type { Filters, ViewState } from '../state/view-state';

export interface Chip {
  readonly key: string;
  readonly words: string;
  /** The view without it. */
  readonly without: Partial<ViewState>;
}

export function chipsOf(view: ViewState, grid: Grid | null, prefix: readonly string[]): Chip[] {
  const chips: Chip[] = [];
  const filter = (key: string, words: string, change: Partial<Filters>): void => {
    chips.push({ key, words, without: { filters: { ...view.filters, ...change } } });
  };
  const { filters } = view;
  for (const name of filters.class) {
    const others = filters.class.filter((other) => other !== name);
    filter(`class ${name}`, `class: ${name}`, { class: others });
  }
  if (filters.correct) filter('correct', `${filters.correct} only`, { correct: null });
  for (const name of ['confidence', 'entropy'] as const) {
    const interval = filters[name];
    if (!interval) continue;
    filter(name, `${name} ${fixed(interval[0], interval[1])} to ${fixed(interval[1], interval[1])}`, {
      [name]: null,
    });
  }
  if (filters.text) filter('text', `“${filters.text}”`, { text: '' });
  if (view.selected.length) {
    const words = `${view.selected.length} ${view.selected.length === 1 ? 'picture' : 'pictures'} selected`;
    chips.push({ key: 'selected', words, without: { selected: [] } });
  }
  if (view.screen === 'heads') {
    const { dashboard } = view;
    dashboard.brushes.forEach((brush, index) => {
      const brushes = dashboard.brushes.filter((_, other) => other !== index);
      chips.push({
        key: `brush ${index}`,
        words: brushWords(brush),
        without: { dashboard: { ...dashboard, brushes } },
      });
    });
  }
  if (view.screen === 'explain') {
    if (view.query !== 'cls') {
      chips.push({
        key: 'query',
        words: `query: ${queryName(view.query, grid, prefix)}`,
        without: { query: 'cls' },
      });
    }
    if (view.heads.length) chips.push({ key: 'heads', words: headNames(view.heads), without: { heads: [] } });
    if (view.off.length)
      chips.push({ key: 'off', words: `off: ${headNames(view.off)}`, without: { off: [] } });
  }
  return chips;
}
