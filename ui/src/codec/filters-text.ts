/** The library's filters as text: `class:heron,crane;correct:wrong;confidence:0.2..0.5;text:red`. */

import { NO_FILTERS, type Filters, type Interval } from '../state/view-state';
import { number } from './numbers-text';

export function writeFilters(filters: Filters): string {
  const parts: string[] = [];
  if (filters.class.length) parts.push(`class:${filters.class.map(encodeURIComponent).join(',')}`);
  if (filters.correct) parts.push(`correct:${filters.correct}`);
  if (filters.confidence) parts.push(`confidence:${writeInterval(filters.confidence)}`);
  if (filters.entropy) parts.push(`entropy:${writeInterval(filters.entropy)}`);
  if (filters.text) parts.push(`text:${encodeURIComponent(filters.text)}`);
  return parts.join(';');
}

export function readFilters(text: string): Filters {
  const found: { -readonly [Name in keyof Filters]: Filters[Name] } = { ...NO_FILTERS };
  for (const part of text.split(';')) {
    const [name, value = ''] = split(part, ':');
    if (name === 'class') found.class = [...new Set(value.split(',').map(plain).filter(Boolean))];
    if (name === 'correct' && (value === 'right' || value === 'wrong')) found.correct = value;
    if (name === 'confidence') found.confidence = readInterval(value);
    if (name === 'entropy') found.entropy = readInterval(value);
    if (name === 'text') found.text = plain(value);
  }
  return found;
}

function writeInterval([low, high]: Interval): string {
  return `${low}..${high}`;
}

function readInterval(text: string): Interval | null {
  const [low, high] = split(text, '..').map(number);
  return low !== undefined && high !== undefined && low <= high ? [low, high] : null;
}

/** Before and after the first separator. */
function split(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)];
}

function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
