/** What a control for an option shows and takes, from the registry's declaration. */

import type { MethodOption } from '../data/source';
import type { OptionValue } from '../state/view-state';

/** The value of what was typed; undefined where it is not accepted. Empty stands for None where that is allowed. */
export function readOption(option: MethodOption, text: string): OptionValue | undefined {
  const given = text.trim();
  if (given === '') return option.optional ? null : undefined;
  if (option.kind === 'boolean') return { true: true, false: false }[given];
  if (option.kind === 'choice') return option.choices.includes(given) ? given : undefined;
  if (option.kind === 'text') return given;
  if (option.kind === 'integer' || option.kind === 'number') {
    const value = Number(given);
    const whole = option.kind === 'number' || Number.isInteger(value);
    return Number.isFinite(value) && whole && inside(option, value) ? value : undefined;
  }
  try {
    return JSON.parse(given) as OptionValue;
  } catch {
    return given;
  }
}

function inside({ low, high }: MethodOption, value: number): boolean {
  return (low === null || value >= low) && (high === null || value <= high);
}

/** The value as a control shows it. */
export function shownOption(value: OptionValue): string {
  if (value === null) return '';
  return Array.isArray(value) ? JSON.stringify(value) : String(value);
}

/** The options that differ from the method's defaults, after one has been set. */
export function withOption(
  options: Readonly<Record<string, OptionValue>>,
  option: MethodOption,
  value: OptionValue,
): Record<string, OptionValue> {
  const others = Object.fromEntries(Object.entries(options).filter(([name]) => name !== option.name));
  const usual = JSON.stringify(value) === JSON.stringify(option.default);
  return usual ? others : { ...others, [option.name]: value };
}
