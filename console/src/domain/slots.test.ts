import { expect, test } from 'vitest';
import { changedSlots, crc16, fullest, hashTag, inLastingOrder, ownersOf, ownersOfRanges, parseRanges, rangesOf, shade, slotOf } from './slots';

test('the checksum is the one of the cluster specification', () => {
  expect(crc16(new TextEncoder().encode('123456789'))).toBe(0x31c3);
});

// As `CLUSTER KEYSLOT` of redis 7.0 answers.
test.each([
  ['', 0],
  ['foo', 12182],
  ['bar', 5061],
  ['hello', 866],
  ['{user1000}.following', 3443],
  ['{user1000}.followers', 3443],
  ['foo{}{bar}', 8363],
  ['foo{{bar}}zap', 4015],
  ['foo{bar}{zap}', 5061],
])('the slot of %j is %i', (key, slot) => {
  expect(slotOf(key)).toBe(slot);
});

test('an empty tag is no tag, and an open brace alone neither', () => {
  expect(hashTag('foo{}{bar}')).toBe('foo{}{bar}');
  expect(hashTag('foo{bar')).toBe('foo{bar');
});

test('ranges are read, and what is none is left out', () => {
  expect(parseRanges('0-5460,5500')).toEqual([[0, 5460], [5500, 5500]]);
  expect(parseRanges('')).toEqual([]);
  expect(parseRanges('9-3,16384,x')).toEqual([]);
});

test('owners and ranges are the same picture', () => {
  const owners = ownersOf([{ slots: '0-3,8' }, { slots: '4-7' }]);
  expect(rangesOf(owners, 0)).toBe('0-3,8');
  expect(rangesOf(owners, 1)).toBe('4-7');
  expect(owners[9]).toBe(-1);
});

test('ranges that name a workload say the same, whoever of a shard is its primary', () => {
  const owners = ownersOfRanges([{ first: 0, last: 3, workload: 'redis-5' }, { first: 8, last: 8, workload: 'redis-1' }], [['redis-1', 'redis-4'], ['redis-2', 'redis-5']]);
  expect(rangesOf(owners, 1)).toBe('0-3');
  expect(rangesOf(owners, 0)).toBe('8');
});

test('a shard keeps its number when another joins in between and when a replica is promoted', () => {
  const shard = (primary: string, replica: string) => ({ primary: { workload: primary }, replicas: [{ workload: replica }] });
  const order = inLastingOrder([shard('redis-4', 'redis-1'), shard('redis-7', 'redis-8'), shard('redis-2', 'redis-10'), shard('redis-3', 'redis-6')]);
  expect(order.map((it) => it.primary.workload)).toEqual(['redis-4', 'redis-2', 'redis-3', 'redis-7']);
});

test('the fullest slot is found, and none where all are empty or unknown', () => {
  expect(fullest([null, 3, 7, 7, 0])).toBe(2);
  expect(fullest([0, null])).toBeUndefined();
});

test('a slot is as dark as it is full', () => {
  expect([shade(0, 0), shade(0, 9), shade(1, 4), shade(4, 4)]).toEqual([0, 0, 0.5, 1]);
});

test('slots that change hands are told', () => {
  const before = ownersOf([{ slots: '0-3' }, { slots: '4-7' }]);
  const after = ownersOf([{ slots: '0-2' }, { slots: '3-7' }]);
  expect(changedSlots(before, after)).toEqual([3]);
});
