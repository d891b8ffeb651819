import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const sources = readdirSync(new URL('../src', import.meta.url), { recursive: true, encoding: 'utf8' });

describe('the page under default-src self', () => {
  it.each(sources.filter((name) => name.endsWith('.svelte')))('%s has no inline style or script', (name) => {
    const text = readFileSync(new URL(`../src/${name}`, import.meta.url), 'utf8');
    const markup = text.replace(/<script[\s\S]*?<\/script>/g, '').replace(/<style>[\s\S]*?<\/style>/g, '');
    // `style:name={…}` is set by script through the CSSOM, which the policy allows; a style attribute is not.
    expect(markup).not.toMatch(/\sstyle=/);
    expect(markup).not.toMatch(/\son[a-z]+="/);
    expect(markup).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
  });

  it('has a document without inline script', () => {
    const document = readFileSync(new URL('../index.html', import.meta.url), 'utf8');
    expect(document).not.toMatch(/<script(?![^>]*\ssrc=)/);
    expect(document).not.toMatch(/<style/);
  });
});
