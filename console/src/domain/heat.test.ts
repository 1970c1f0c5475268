import { describe, expect, it } from 'vitest';
import { gained, LOOKS_MAX, withLook, type Look } from './heat';

const look = (at: number, ...values: (number | null)[]): Look => ({ at, values });

describe('looks at the slots over time', () => {
  it('keeps each once, and the last ones only', () => {
    let looks: Look[] = [];
    for (let at = 0; at < LOOKS_MAX + 5; at += 1) looks = withLook(withLook(looks, look(at, at)), look(at, at));
    expect(looks.length).toBe(LOOKS_MAX);
    expect([looks[0]!.at, looks.at(-1)!.at]).toEqual([5, LOOKS_MAX + 4]);
  });

  it('tells what came since the look before, and nothing where a count began anew', () => {
    const looks = [look(1, 5, 7, null, 3), look(2, 9, 7, 4, 1)];
    expect(gained(looks, 1)).toEqual([4, 0, null, null]);
    expect(gained(looks, 0)).toEqual([null, null, null, null]);
    expect(gained(looks, 2)).toEqual([]);
  });
});
