/** The prediction before and after heads are switched off, class by class. */

import type { Prediction } from '../data/source';

export interface ComparedClass {
  readonly class: number;
  readonly name: string;
  /** null where it is not among the best of the intact model. */
  readonly before: number | null;
  /** null while no head is off, or where it is not known. */
  readonly after: number | null;
}

/** The best classes before, then those that are new among the best after. */
export function compared(prediction: Prediction): ComparedClass[] {
  const after = new Map(prediction.without?.top.map((score) => [score.class, score]));
  const rows: ComparedClass[] = prediction.top.map((score) => ({
    class: score.class,
    name: score.name,
    before: score.probability,
    after: after.get(score.class)?.probability ?? null,
  }));
  const known = new Set(rows.map((row) => row.class));
  for (const score of after.values()) {
    if (!known.has(score.class)) {
      rows.push({ class: score.class, name: score.name, before: null, after: score.probability });
    }
  }
  return rows;
}
