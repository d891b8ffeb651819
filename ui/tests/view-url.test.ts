import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readView, writeView } from '../src/codec/view-url';
import type { Brush } from '../src/heads/brushes';
import {
  CUMULATIVE,
  DETAIL_TABS,
  IMPORTANCE_TABS,
  ORDERS,
  PICTURE_COLOURS,
  PATTERN_TABS,
  PICTURE_TABS,
  POINT_COLOURS,
  QUANTITIES,
  STRENGTH_TABS,
  type HeadsView,
} from '../src/heads/heads-view';
import { writeNumbers } from '../src/heads/places';
import {
  COLUMNS,
  compareHeads,
  CURVES,
  DIRECTIONS,
  GROUNDS,
  headId,
  INITIAL,
  MAGNITUDE_COLOURS,
  SCALES,
  SCREENS,
  SHARED,
  SIGNED_COLOURS,
  SORT_KEYS,
  THEMES,
  type HeadId,
  type ViewState,
} from '../src/state/view-state';

const heads: fc.Arbitrary<HeadId[]> = fc
  .uniqueArray(fc.tuple(fc.nat(99), fc.nat(99)), { maxLength: 6, selector: String })
  .map((pairs) => pairs.map(([block, head]) => headId(block, head)).sort(compareHeads));
const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { maxLength: 4 });
const share = fc.double({ min: 0, max: 1, noNaN: true }).map((value) => Math.abs(value));
const interval = fc.option(fc.tuple(share, share).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const));
const option = fc.oneof(fc.boolean(), fc.integer(), fc.string(), fc.constant(null), fc.array(fc.integer()));
const nothing = { nil: null };

const places = fc
  .uniqueArray(fc.nat(5000), { maxLength: 40 })
  .map((found) => writeNumbers(found.sort((a, b) => a - b)));
const op = fc.constantFrom('and' as const, 'or' as const, 'not' as const);
const brushes: fc.Arbitrary<Brush> = fc.oneof(
  fc.record({ op, kind: fc.constant('heads' as const), heads }),
  fc.tuple(op, fc.nat(13), fc.nat(13), share).map(([how, a, b, least]) => ({
    op: how,
    kind: 'hops' as const,
    from: Math.min(a, b),
    to: Math.max(a, b),
    least,
  })),
  fc.record({ op, kind: fc.constant('class' as const), least: share }),
  fc.record({ op, kind: fc.constant('pictures' as const), rows: places }),
  fc.record({ op, kind: fc.constant('cluster' as const), cluster: fc.nat(20) }),
  fc.record({ op, kind: fc.constant('points' as const), points: places }),
);
const dashboards: fc.Arbitrary<HeadsView> = fc.record({
  metric: fc.option(fc.string({ minLength: 1 }), nothing),
  second: fc.option(fc.string({ minLength: 1 }), nothing),
  order: fc.constantFrom(...ORDERS),
  importance: fc.constantFrom(...IMPORTANCE_TABS),
  curve: fc.constantFrom(...CUMULATIVE),
  strength: fc.constantFrom(...STRENGTH_TABS),
  quantity: fc.constantFrom(...QUANTITIES),
  pictures: fc.constantFrom(...PICTURE_TABS),
  pictureColour: fc.constantFrom(...PICTURE_COLOURS),
  thumbnails: fc.boolean(),
  patterns: fc.constantFrom(...PATTERN_TABS),
  pointColour: fc.constantFrom(...POINT_COLOURS),
  detail: fc.constantFrom(...DETAIL_TABS),
  pinned: fc.option(
    fc.tuple(fc.nat(99), fc.nat(99)).map(([block, head]) => headId(block, head)),
    nothing,
  ),
  brushes: fc.array(brushes, { maxLength: 4 }),
});

const views: fc.Arbitrary<ViewState> = fc.record({
  screen: fc.constantFrom(...SCREENS),
  picture: fc.option(fc.string({ minLength: 1 }), nothing),
  method: fc.option(fc.string({ minLength: 1 }), nothing),
  options: fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), option, { maxKeys: 3, noNullPrototype: true }),
  target: fc.oneof(
    fc.constant('predicted'),
    fc.nat(1_000_000),
    fc.string({ minLength: 1, maxLength: 100 }).filter((text) => text.trim() !== '' && !/^\d+$/.test(text)),
  ),
  block: fc.option(fc.nat(1000), nothing),
  query: fc.oneof(fc.constant('cls' as const), fc.nat(5000)),
  direction: fc.constantFrom(...DIRECTIONS),
  heads,
  off: heads,
  scale: fc.constantFrom(...SCALES),
  curve: fc.constantFrom(...CURVES),
  smooth: fc.boolean(),
  opacity: share,
  ground: fc.constantFrom(...GROUNDS),
  colour: fc.option(fc.constantFrom(...MAGNITUDE_COLOURS, ...SIGNED_COLOURS), nothing),
  filters: fc.record({
    class: ids,
    correct: fc.constantFrom('right' as const, 'wrong' as const, null),
    confidence: interval,
    entropy: interval,
    text: fc.string(),
  }),
  sort: fc.record({
    key: fc.constantFrom(...SORT_KEYS),
    descending: fc.boolean(),
    like: fc.option(fc.string({ minLength: 1 }), nothing),
  }),
  overlay: fc.boolean(),
  selected: ids,
  drawer: fc.boolean(),
  top: fc.integer({ min: 1, max: 10_000 }),
  threshold: share,
  added: ids,
  columns: fc.constantFrom(...COLUMNS),
  ranked: fc.option(fc.string({ minLength: 1 }), nothing),
  shared: fc.constantFrom(...SHARED),
  pair: ids,
  zoom: share.map((value) => 1 + 7 * value),
  theme: fc.constantFrom(...THEMES),
  dashboard: dashboards,
});

describe('the view in the URL', () => {
  it('comes back as it was, whatever it is', () => {
    fc.assert(
      fc.property(views, (view) => {
        expect(readView(`#${writeView(view)}`)).toEqual(view);
      }),
    );
  });

  it('survives a second trip as the same text', () => {
    fc.assert(
      fc.property(views, (view) => {
        expect(writeView(readView(writeView(view)))).toBe(writeView(view));
      }),
    );
  });

  it('is the initial one for whatever text makes no sense', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const view = readView(text);
        expect(Object.keys(view).sort()).toEqual(Object.keys(INITIAL).sort());
        expect(SCREENS).toContain(view.screen);
      }),
    );
    expect(readView('')).toEqual(INITIAL);
    expect(readView('#nonsense')).toEqual(INITIAL);
  });

  it('stands there in the words of the contract', () => {
    const view: ViewState = {
      ...INITIAL,
      screen: 'explain',
      picture: 'ab12',
      method: 'dart',
      options: { alpha: 2 },
      target: 7,
      block: 0,
      query: 31,
      direction: 'in',
      heads: ['7.3', '7.11'],
      off: ['10.0', '3.1'],
      filters: { ...INITIAL.filters, correct: 'wrong', confidence: [0.2, 0.5], class: ['a,b', 'c'] },
    };
    expect(writeView(view)).toContain('&head=7.3,7.11&off=3.1,10.0&');
    expect(decodeURIComponent(writeView(view))).toBe(
      'v=1&screen=explain&picture=ab12&method=dart&options={"alpha":2}&target=7&block=0&query=31&direction=in' +
        '&head=7.3,7.11&off=3.1,10.0&filters=class:a%2Cb,c;correct:wrong;confidence:0.2..0.5',
    );
  });

  it('leaves out what equals the initial value', () => {
    expect(writeView(INITIAL)).toBe('v=1');
  });

  it('ignores unknown keys and values out of bounds, and keeps the rest', () => {
    const view = readView(
      '#v=9&later=1&screen=attic&opacity=7&block=-1&off=3.1,x,03.1&curve=sqrt&options=[1]&top=0',
    );
    expect(view).toEqual({ ...INITIAL, off: ['3.1'], curve: 'sqrt' });
  });
});
