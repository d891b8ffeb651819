import { describe, expect, it } from 'vitest';
import { escaped, fileOf } from '../src/api/files';
import asked from './fixtures/files.json';

/** What the client adds where the address itself has no ending. */
const ENDINGS: Record<string, string> = { 'application/json': '.json', 'image/png': '' };

describe('the names of a site', () => {
  it('are those under which Python writes the answers', () => {
    expect(asked.length).toBeGreaterThan(3);
    for (const [path, parameters, type, file] of asked as [
      string,
      Record<string, string>,
      string,
      string,
    ][]) {
      const ending = ENDINGS[type.split(';')[0] ?? ''] ?? '.bin';
      expect(fileOf(path, parameters) + ending).toBe(file);
    }
  });

  it('differ where questions differ, whatever is written in them', () => {
    const texts = ['a', 'A,b=c', 'A=b,c', '_2c', ',', 'ü', '%2C', ''];
    expect(new Set(texts.map(escaped)).size).toBe(texts.length);
  });
});
