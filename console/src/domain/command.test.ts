import { expect, test } from 'vitest';
import { commandLine, setOptions } from './command';

test('a command line can be pasted', () => {
  expect(commandLine('scale', 'orders', '--shards', '6', false, '')).toBe('shardyard scale orders --shards 6');
  expect(commandLine('cli', 'a', 'set', 'k', "it's")).toBe(`shardyard cli a set k 'it'\\''s'`);
});

test('a secret is in no command line', () => {
  expect(setOptions({ SHARDS: '6', PASSWORD: 'hidden' }, new Set(['PASSWORD']))).toEqual(['--set', 'SHARDS=6']);
});
