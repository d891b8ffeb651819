/** Numbers as people read them; the same forms as `vitscope.rendering.typography`. */

/** At most `digits` significant digits: 0.0123, −1.5, 2.1e−5, 0, ∞, "no value". */
export function numeral(value: number | null, digits = 3): string {
  if (value === null || Number.isNaN(value)) return 'no value';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (value === 0) return '0';
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  if (exponent >= -4 && exponent < 5) {
    return withMinus(trimmed(value.toFixed(Math.max(0, digits - 1 - exponent))));
  }
  const [mantissa = '', power = ''] = value.toExponential(digits - 1).split('e');
  return withMinus(`${trimmed(mantissa)}e${Number(power)}`);
}

/** As many decimals as `span` needs for `digits` significant digits, for numbers that stand under each other. */
export function fixed(value: number, span: number, digits = 3): string {
  if (!Number.isFinite(value) || !(span >= 1e-4 && span < 1e5)) return numeral(value, digits);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(span)));
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace('-', '') : withMinus(text);
}

/** A share as a percentage: 91.3 %. */
export function percent(share: number, decimals = 1): string {
  return Number.isFinite(share) ? `${withMinus((100 * share).toFixed(decimals))} %` : 'no value';
}

/** A difference with its sign: +0.031, −0.29. */
export function difference(value: number, decimals = 3): string {
  const text = Math.abs(value).toFixed(decimals);
  if (Number(text) === 0) return `±${text}`;
  return `${value < 0 ? '−' : '+'}${text}`;
}

/** A whole number with thousands apart: 50,000. */
export function counted(value: number): string {
  return value.toLocaleString('en-US');
}

/** Bytes in the unit that suits them: 0.3 GB. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${numeral(value / 1000 ** step)} ${units[step]}`;
}

export function seconds(value: number): string {
  if (value < 0.995) return `${Math.max(1, Math.round(1000 * value))} ms`;
  return value < 100 ? `${numeral(value, 2)} s` : `${Math.round(value / 60)} min`;
}

function trimmed(text: string): string {
  return text.includes('.') ? text.replace(/0+$/, '').replace(/\.$/, '') : text;
}

function withMinus(text: string): string {
  return text.replaceAll('-', '−');
}
