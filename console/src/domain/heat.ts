/** The slots' figures over time: each look at them, and what came between two. */

export type Values = (number | null)[];
/** One look: when, in milliseconds since 1970, and a figure for each slot. */
export interface Look { at: number; values: Values }

/** At one look in five seconds these are five minutes. */
export const LOOKS_MAX = 60;

/** The looks with one more, oldest first. The same one is not taken twice, and the oldest leave. */
export function withLook(looks: Look[], look: Look): Look[] {
  return looks.at(-1)?.at === look.at ? looks : [...looks, look].slice(-LOOKS_MAX);
}

/** What each slot has more than in the look before; nothing is known of one that has a new owner, whose
 *  count begins anew. */
export function gained(looks: Look[], index: number): Values {
  const [before, after] = [looks[index - 1], looks[index]];
  if (!after) return [];
  return after.values.map((value, slot) => {
    const earlier = before?.values[slot] ?? null;
    return value === null || earlier === null || value < earlier ? null : value - earlier;
  });
}
