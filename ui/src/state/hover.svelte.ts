/** What the pointer is on, shared by every view and never part of the URL. */

export class Hover {
  /** A patch, row by row from 0. */
  patch: number | null = $state(null);
  block: number | null = $state(null);
  /** A head of the block that is shown. */
  head: number | null = $state(null);
  /** A picture's id. */
  picture: string | null = $state(null);
}
