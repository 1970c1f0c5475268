// Which slot a key belongs to, and who owns which slot. Knows nothing of the page that draws it.

export const SLOTS = 16384;

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc & 0xffff;
});

/** CRC16 of the XMODEM kind, as the cluster specification names it. */
export function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ TABLE[(crc >> 8) ^ byte]!;
  return crc;
}

/** What is hashed of a key: the first non-empty part in braces, or all of it. */
export function hashTag(key: string): string {
  const open = key.indexOf('{');
  if (open < 0) return key;
  const close = key.indexOf('}', open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : key;
}

export function slotOf(key: string): number {
  return crc16(new TextEncoder().encode(hashTag(key))) % SLOTS;
}

/** `0-5460,5500` as pairs of first and last slot. Parts that are no range are left out. */
export function parseRanges(text: string): [number, number][] {
  return text
    .split(/[\s,]+/)
    .map((part) => /^(\d+)(?:-(\d+))?$/.exec(part))
    .filter((match) => match !== null)
    .map((match): [number, number] => [Number(match[1]), Number(match[2] ?? match[1])])
    .filter(([first, last]) => first <= last && last < SLOTS);
}

/** The owner's index for each slot, and -1 where nobody owns it. */
export function ownersOf(shards: { slots: string }[]): Int16Array {
  const owners = new Int16Array(SLOTS).fill(-1);
  shards.forEach((shard, index) => {
    for (const [first, last] of parseRanges(shard.slots)) owners.fill(index, first, last + 1);
  });
  return owners;
}

/** The same from ranges that name their owner's workload; the index is that of the shard it is in. */
export function ownersOfRanges(ranges: { first: number; last: number; workload: string }[], shards: string[][]): Int16Array {
  const owners = new Int16Array(SLOTS).fill(-1);
  for (const range of ranges) owners.fill(shards.findIndex((it) => it.includes(range.workload)), range.first, range.last + 1);
  return owners;
}

interface Members { primary: { workload: string }; replicas: { workload: string }[] }

export function workloadsOf(shard: Members): string[] {
  return [shard.primary, ...shard.replicas].map((it) => it.workload);
}

/** Shards by their oldest member: a shard keeps its number, and so its colour, when slots move, when
    another one joins, and when a replica is promoted. */
export function inLastingOrder<S extends Members>(shards: S[]): S[] {
  const age = (shard: S) => Math.min(...workloadsOf(shard).map((it) => Number(/(\d+)$/.exec(it)?.[1] ?? Infinity)));
  return [...shards].sort((a, b) => age(a) - age(b));
}

/** Slots as text, in the notation of `cluster slots`. */
export function rangesOf(owners: Int16Array, owner: number): string {
  const ranges: string[] = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    if (owners[slot] !== owner) continue;
    const first = slot;
    while (slot + 1 < SLOTS && owners[slot + 1] === owner) slot++;
    ranges.push(first === slot ? `${first}` : `${first}-${slot}`);
  }
  return ranges.join(',');
}

/** How dark a slot is drawn, from 0 to 1: by the root, so that what is small beside the largest is seen. */
export function shade(value: number, most: number): number {
  return most > 0 ? Math.sqrt(Math.min(1, value / most)) : 0;
}

/** The slot with the largest figure, and undefined where no figure is above nothing. */
export function fullest(values: (number | null)[]): number | undefined {
  let best: number | undefined;
  values.forEach((value, slot) => { if (value && value > (best === undefined ? 0 : values[best]!)) best = slot; });
  return best;
}

/** How many slots changed hands between two pictures of a cluster. */
export function changedSlots(before: Int16Array, after: Int16Array): number[] {
  const changed: number[] = [];
  for (let slot = 0; slot < SLOTS; slot++) if (before[slot] !== after[slot]) changed.push(slot);
  return changed;
}
