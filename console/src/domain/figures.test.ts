import { expect, test } from 'vitest';
import { snippets } from './connect';
import { count, duration, percent, shardHue, size } from './figures';

test.each([[0, '0 B'], [1023, '1023 B'], [1887436, '1.8 MiB'], [268435456, '256 MiB'], [null, '–']])(
  'size %j', (bytes, text) => expect(size(bytes)).toBe(text));

test.each([[12, '12'], [12_345, '12.3 k'], [250_000, '250 k'], [1_160_000, '1.2 M']])(
  'count %j', (value, text) => expect(count(value)).toBe(text));

test.each([[70, '70 ms'], [2200, '2.2 s'], [61_000, '1 min 1 s']])(
  'duration %j', (ms, text) => expect(duration(ms)).toBe(text));

test('a share of nothing is nothing', () => expect(percent(3, 0)).toBe(0));

test('the first twelve shards are told apart by hue', () => {
  const hues = Array.from({ length: 12 }, (_, index) => shardHue(index)).sort((a, b) => a - b);
  hues.slice(1).forEach((hue, index) => expect(hue - hues[index]!).toBeGreaterThan(8));
});

test('a password is in no connection string', () => {
  for (const { text } of snippets(['redis://127.1.2.3:6379'], 'default')) {
    expect(text).toContain('127.1.2.3');
    expect(text).toMatch(/REDIS_PASSWORD/);
  }
});
