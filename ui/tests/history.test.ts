import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { begin, record, redo, undo } from '../src/state/history';

describe('undo and redo', () => {
  it('walk back to the beginning and forth to the end', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { maxLength: 50 }), (values) => {
        const seen = [0, ...values];
        let history = values.reduce((known, value) => record(known, value), begin(0));
        for (const value of [...seen].reverse()) {
          expect(history.present).toBe(value);
          history = undo(history);
        }
        for (const value of seen) {
          expect(history.present).toBe(value);
          history = redo(history);
        }
      }),
    );
  });

  it('forget what was undone once something new is done', () => {
    const history = record(undo(record(record(begin(1), 2), 3)), 4);
    expect(redo(history)).toBe(history);
    expect(undo(history).present).toBe(2);
  });

  it('merge the steps of one movement', () => {
    const history = record(record(record(begin(0), 1), 2, true), 3, true);
    expect(history.present).toBe(3);
    expect(undo(history).present).toBe(0);
  });
});
