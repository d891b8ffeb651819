/** What a brush is called on its chip. */

import { counted, percent } from '../format/numbers';
import { headNames } from '../format/words';
import type { Brush } from './brushes';
import { readNumbers } from './places';

const LEADS = { and: '', or: 'or ', not: 'without ' } as const;

export function brushWords(brush: Brush): string {
  return `${LEADS[brush.op]}${words(brush)}`;
}

function words(brush: Brush): string {
  switch (brush.kind) {
    case 'heads':
      return headNames(brush.heads);
    case 'hops':
      return `heads ≥ ${percent(brush.least, 0)} at ${brush.from} to ${brush.to} hops`;
    case 'class':
      return `heads ≥ ${percent(brush.least, 0)} at the class token`;
    case 'cluster':
      return `pattern ${brush.cluster}`;
    case 'pictures':
      return size(brush.rows, 'picture');
    case 'points':
      return size(brush.points, 'map');
  }
}

function size(text: string, what: string): string {
  const count = readNumbers(text)?.length ?? 0;
  return `${counted(count)} ${what}${count === 1 ? '' : 's'}`;
}
