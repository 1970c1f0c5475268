// Numbers as people read them.

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function size(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return '–';
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < SIZES.length - 1) { value /= 1024; unit++; }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${SIZES[unit]}`;
}

export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  if (value < 10_000) return String(Math.round(value));
  if (value < 1e6) return `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)} k`;
  if (value < 1e9) return `${(value / 1e6).toFixed(1)} M`;
  return `${(value / 1e9).toFixed(1)} G`;
}

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`;
}

/** Microseconds, as people read them. */
export function microseconds(value: number): string {
  return value < 1000 ? `${Math.round(value)} µs` : duration(value / 1000);
}

export function percent(part: number, whole: number): number {
  return whole > 0 ? Math.min(100, (part / whole) * 100) : 0;
}

/** The shard's colour: an even walk around the hues, so that neighbours differ. The same everywhere. */
export function shardHue(index: number): number {
  return (195 + index * 137.508) % 360;
}

/** The instant as the clock on the wall, with the day where it is not today. */
export function clock(at: string | number, now = new Date()): string {
  const then = new Date(at);
  if (Number.isNaN(then.getTime())) return String(at);
  const time = then.toLocaleTimeString(undefined, { hour12: false });
  return then.toDateString() === now.toDateString() ? time : `${then.toLocaleDateString()} ${time}`;
}
