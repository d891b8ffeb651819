/** What undo and redo know: the values before, the one now, the values after. */

export interface History<T> {
  readonly past: readonly T[];
  readonly present: T;
  readonly future: readonly T[];
}

const LONGEST = 200;

export function begin<T>(present: T): History<T> {
  return { past: [], present, future: [] };
}

/** A new value; what could be redone is gone. `merge`: one with the step before, as while a slider moves. */
export function record<T>(history: History<T>, value: T, merge = false): History<T> {
  if (merge && history.past.length) return { past: history.past, present: value, future: [] };
  return { past: [...history.past, history.present].slice(-LONGEST), present: value, future: [] };
}

export function undo<T>(history: History<T>): History<T> {
  const before = history.past.at(-1);
  if (before === undefined) return history;
  return { past: history.past.slice(0, -1), present: before, future: [history.present, ...history.future] };
}

export function redo<T>(history: History<T>): History<T> {
  const [after, ...rest] = history.future;
  if (after === undefined) return history;
  return { past: [...history.past, history.present], present: after, future: rest };
}
