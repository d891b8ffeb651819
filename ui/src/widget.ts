/** The notebook's widget (anywidget): the explorer of the app, fed by the kernel. */

import { mount, unmount } from 'svelte';
import '../../src/vitscope/rendering/pages/static/tokens.css';
import './styles/base.css';
import { KernelLink, type KernelModel } from './widget/kernel-link.svelte';
import NotebookView from './widget/NotebookView.svelte';

interface Cell {
  model: KernelModel;
  el: HTMLElement;
}

function render({ model, el }: Cell): () => void {
  const link = new KernelLink(model);
  const view = mount(NotebookView, { target: el, props: { link, scheme: schemeAround(el) } });
  return () => {
    link.end();
    void unmount(view);
  };
}

/** Whether the notebook around the cell is light or dark, by the first ground that is painted behind it. */
function schemeAround(el: HTMLElement): 'light' | 'dark' {
  const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  for (let at: Node | null = el; pen && at; at = at instanceof ShadowRoot ? at.host : at.parentNode) {
    if (!(at instanceof Element)) continue;
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = getComputedStyle(at).backgroundColor; // in any colour space that the notebook names
    pen.fillRect(0, 0, 1, 1);
    const [red = 0, green = 0, blue = 0, alpha = 0] = pen.getImageData(0, 0, 1, 1).data;
    if (alpha > 127) return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128 ? 'dark' : 'light';
  }
  return 'light';
}

export default { render };
