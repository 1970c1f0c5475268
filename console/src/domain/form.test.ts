import { expect, test } from 'vitest';
import { changedValues, fieldOf, parseSize, problemOf } from './form';

const shards = fieldOf({ name: 'SHARDS', type: 'int', default: '3', min: 1, max: 1000 });
const memory = fieldOf({ name: 'MEMORY', type: 'size', default: '256MiB', min: 33554432 });

test('a field takes its kind, its words and its bounds from the variable', () => {
  expect(fieldOf({ name: 'NODE_TIMEOUT', type: 'int', default: '5000', min: 500, max: 60000 })).toMatchObject({
    label: 'Node timeout', kind: 'number', initial: '5000', min: '500', max: '60000',
  });
  expect(memory.kind).toBe('size');
});

test.each([
  ['3', undefined],
  ['0', { what: 'too_small', bound: '1' }],
  ['1001', { what: 'too_big', bound: '1000' }],
  ['three', { what: 'not_a_number' }],
  ['', { what: 'not_a_number' }],
])('SHARDS %j', (text, problem) => {
  expect(problemOf(shards, text)).toEqual(problem);
});

test.each([
  ['256MiB', undefined],
  ['1gb', undefined],
  ['1MiB', { what: 'too_small', bound: '32MiB' }],
  ['much', { what: 'not_a_size' }],
])('MEMORY %j', (text, problem) => {
  expect(problemOf(memory, text)).toEqual(problem);
});

test('sizes have the units of redis.conf', () => {
  expect(parseSize('1k')).toBe(1000);
  expect(parseSize('1kb')).toBe(1024);
  expect(parseSize('256MiB')).toBe(268435456);
});

test('a default that stands is not sent', () => {
  expect(changedValues([shards, memory], { SHARDS: '6', MEMORY: '256MiB' })).toEqual({ SHARDS: '6' });
});
