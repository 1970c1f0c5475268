import { expect, test } from 'vitest';
import { hottest, splitWords } from './verdict';

test('the hot node is the one that stands out', () => {
  expect(hottest([10, 10, 30])).toBe(2);
  expect(hottest([10, 10, 10])).toBeUndefined();
  expect(hottest([100, 101, 99])).toBeUndefined();
  expect(hottest([null, 5])).toBeUndefined();
});

test('words are split as redis-cli splits them', () => {
  expect(splitWords(`set "a key" 'it''s' b`)).toEqual(['set', 'a key', 'it', 's', 'b']);
  expect(splitWords(`echo "a\\nb \\"c\\""`)).toEqual(['echo', 'a\nb "c"']);
  expect(splitWords('  info   memory ')).toEqual(['info', 'memory']);
});
