/** Which part of a long grid is in sight. */

export interface Window {
  readonly columns: number;
  readonly rows: number;
  /** The first and one past the last item to be drawn. */
  readonly from: number;
  readonly to: number;
  /** Where the first drawn row lies, and how high the whole grid is, in pixels. */
  readonly top: number;
  readonly height: number;
}

const SPARE_ROWS = 2;

export function windowOf(
  count: number,
  width: number,
  height: number,
  scrolled: number,
  cell: { readonly width: number; readonly height: number },
): Window {
  const columns = Math.max(1, Math.floor(width / cell.width));
  const rows = Math.ceil(count / columns);
  const first = Math.max(0, Math.floor(scrolled / cell.height) - SPARE_ROWS);
  const last = Math.min(rows, Math.ceil((scrolled + height) / cell.height) + SPARE_ROWS);
  const from = Math.min(count, first * columns);
  return {
    columns,
    rows,
    from,
    to: Math.max(from, Math.min(count, last * columns)),
    top: first * cell.height,
    height: rows * cell.height,
  };
}

/** Where an arrow key leads in a grid; null for other keys. */
export function moved(place: number, key: string, columns: number, count: number): number | null {
  const steps: Record<string, number> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
    PageUp: -5 * columns,
    PageDown: 5 * columns,
    Home: -count,
    End: count,
  };
  const step = steps[key];
  return step === undefined ? null : Math.min(count - 1, Math.max(0, place + step));
}
