/** Targets as they are typed. The server's parser alone decides what they mean; here only classes are told from them. */

import type { Target } from '../state/view-state';

/** The number of a class where a number or a class's name was typed, else the text for the parser. */
export function typedTarget(text: string, classes: readonly string[]): Target {
  const given = text.trim();
  const named = classes.findIndex((name) => name.toLowerCase() === given.toLowerCase());
  if (/^\d{1,6}$/.test(given)) return Number(given);
  return named >= 0 ? named : given;
}

/** What a target is called in the menu. */
export function targetName(target: Target, classes: readonly string[]): string {
  return typeof target === 'number' ? (classes[target] ?? `class ${target}`) : target;
}
