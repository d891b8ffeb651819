import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Method } from '../src/data/source';
import { passesOf } from '../src/explain/explain-answers.svelte';
import { targetName, typedTarget } from '../src/explain/targets';

const CLASSES = ['heron', 'crane', '7'];

describe('a target that is typed', () => {
  it('is a class by number or name, and else a text for the parser', () => {
    expect(typedTarget(' Crane ', CLASSES)).toBe(1);
    expect(typedTarget('2', CLASSES)).toBe(2);
    expect(typedTarget('7', CLASSES)).toBe(7); // all digits are an index, as on the command line
    expect(typedTarget('difference:heron,crane', CLASSES)).toBe('difference:heron,crane');
    expect(typedTarget('text: a photo of a heron', CLASSES)).toBe('text: a photo of a heron');
    expect(typedTarget('herron', CLASSES)).toBe('herron');
  });

  it('is never lost', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (text) => {
        const target = typedTarget(text, CLASSES);
        const kept = typeof target === 'string' ? target : (CLASSES[target] ?? String(target));
        expect([text.trim().toLowerCase(), String(target)]).toContain(
          typeof target === 'string' || /^\d+$/.test(text.trim())
            ? String(target).toLowerCase()
            : kept.toLowerCase(),
        );
      }),
    );
  });

  it('has a name', () => {
    expect([0, 9, 'top2'].map((target) => targetName(target, CLASSES))).toEqual(['heron', 'class 9', 'top2']);
  });
});

describe('passes', () => {
  const method = { forwards: 400, backwards: 20, passesBy: { option: 'masks', at: 400 } } as Method;

  it('are in proportion to the option that they grow with', () => {
    expect(passesOf(method, {})).toBe(420);
    expect(passesOf(method, { masks: 100, share: 0.9 })).toBe(105);
    expect(passesOf(method, { masks: 100_000 })).toBe(105_000);
    expect(passesOf({ ...method, passesBy: null }, { masks: 1 })).toBe(420);
    expect([null, 'many', -1, 0].map((masks) => passesOf(method, { masks }))).toEqual([420, 420, 420, 420]);
  });
});
