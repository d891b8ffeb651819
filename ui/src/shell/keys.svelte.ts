/** Whether single keys act; who types by voice or by chance can switch them off, and that is remembered. */

const STORED = 'vitscope.keys';

class KeySwitch {
  #on = $state(true);

  constructor() {
    try {
      this.#on = localStorage.getItem(STORED) !== 'off';
    } catch {
      this.#on = true; // no storage: keys are on
    }
  }

  get on(): boolean {
    return this.#on;
  }

  set on(value: boolean) {
    this.#on = value;
    try {
      localStorage.setItem(STORED, value ? 'on' : 'off');
    } catch {
      // Without storage it holds for this visit.
    }
  }
}

export const keySwitch = new KeySwitch();

/** Whether a key belongs to what has the focus rather than to the page. */
export function isTyping(event: KeyboardEvent): boolean {
  const { target } = event;
  if (!(target instanceof Element)) return false;
  if (target.matches('input[type=range]'))
    return event.key.startsWith('Arrow') || ['Home', 'End'].includes(event.key);
  if (target.matches('input[type=checkbox], input[type=radio]')) {
    return event.key === ' ' || event.key.startsWith('Arrow');
  }
  if (target.matches('input, textarea, select, [contenteditable]')) return true;
  if (target.closest('[role=menu], dialog')) return true;
  return target.matches('button, a, summary') && (event.key === ' ' || event.key === 'Enter');
}
