import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal } from '../base/errors.ts';
import { labelProblems } from './labels.ts';
import { isSelected, parseFieldSelector, parseLabelSelector, type Selectable } from './selectors.ts';

const objects: (Selectable & Record<string, unknown>)[] = [
  {
    metadata: { name: 'a', labels: { team: 'red', 'example.com/tier': 'web' } },
    spec: { n: 1, list: ['x'] },
  },
  {
    metadata: { name: 'b', labels: { team: 'blue' } },
    spec: { n: 2, list: [] },
    status: { state: 'active' },
  },
  { metadata: { name: 'c' }, spec: {} },
];

function picked(labels: string, fields = ''): string {
  const selector = { labels: parseLabelSelector(labels, 'l'), fields: parseFieldSelector(fields, 'f') };
  return objects
    .filter((object) => isSelected(object, selector))
    .map((object) => object.metadata.name)
    .join('');
}

test('label selectors pick as they do elsewhere', () => {
  const cases: [string, string][] = [
    ['', 'abc'],
    ['team=red', 'a'],
    ['team == red', 'a'],
    ['team!=red', 'bc'],
    ['team in (red, blue)', 'ab'],
    ['team notin (red)', 'bc'],
    ['team', 'ab'],
    ['!team', 'c'],
    ['team in (red,blue),example.com/tier', 'a'],
    ['team=red,team=blue', ''],
    ['constructor', ''],
    ['team=', ''],
  ];
  for (const [selector, expected] of cases) assert.equal(picked(selector), expected, selector);
});

test('field selectors compare scalars, and lists by their items', () => {
  const cases: [string, string][] = [
    ['metadata.name=b', 'b'],
    ['metadata.name!=b', 'ac'],
    ['spec.n=1', 'a'],
    ['spec.list=x', 'a'],
    ['spec.list!=x', 'bc'],
    ['status.state=active,spec.n=2', 'b'],
    ['spec.none=', 'abc'],
  ];
  for (const [selector, expected] of cases) assert.equal(picked('', selector), expected, selector);
});

test('what is wrong in a selector is quoted', () => {
  const wrong: [(text: string, field: string) => unknown, string, RegExp][] = [
    [parseLabelSelector, 'a=b,,c', /^l: "" is no requirement/],
    [parseLabelSelector, 'a in (b', /^l: "a in \(b" is no requirement/],
    [parseLabelSelector, 'a in b', /is no requirement/],
    [parseLabelSelector, '-a=b', /^l: "-a" is no label/],
    [parseLabelSelector, 'a=b c', /is no requirement/],
    [parseLabelSelector, `a=${'x'.repeat(5000)}`, /longer than 4096/],
    [parseFieldSelector, 'name=x', /^l: "name=x" is no requirement/],
    [parseFieldSelector, 'metadata.name', /is no requirement/],
    [parseFieldSelector, 'meta.name=x', /is no requirement/],
  ];
  for (const [parse, text, said] of wrong) {
    assert.throws(
      () => parse(text, 'l'),
      (error) => error instanceof Refusal && said.test(error.message),
      text,
    );
  }
});

test('labels are checked key by key', () => {
  assert.deepEqual(labelProblems(undefined, ['labels']), []);
  assert.deepEqual(labelProblems({ team: 'red', 'example.com/x_y': '' }, ['labels']), []);
  const fields = (value: unknown) => labelProblems(value, ['labels']).map(({ path }) => path.join('.'));
  assert.deepEqual(fields([]), ['labels']);
  assert.deepEqual(fields({ 'a b': 'x', n: 1, v: 'no spaces', 'Bad.Prefix/x': 'y' }), [
    'labels.a b',
    'labels.n',
    'labels.v',
    'labels.Bad.Prefix/x',
  ]);
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, '']));
  assert.deepEqual(fields(many), ['labels']);
});
