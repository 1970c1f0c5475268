// The last minutes of each instance: what the server's ring had, then what the events add.
import type { InstanceStatus, NodeStatus, Sample } from './types';

/** A point each few seconds: a quarter of an hour, and no page that stays open grows for ever. */
const POINTS_MAX = 300;

export interface Series { times: number[]; ops: number[]; memory: number[]; keys: number[]; latency: number[] }

const all: Record<string, Series> = $state({});

export function seriesOf(name: string): Series {
  return all[name] ?? { times: [], ops: [], memory: [], keys: [], latency: [] };
}

export function addSample(name: string, sample: Sample): void {
  const series = (all[name] ??= { times: [], ops: [], memory: [], keys: [], latency: [] });
  const at = sample.at_ms / 1000;
  if (at <= (series.times.at(-1) ?? 0)) return;
  const next: Series = {
    times: [...series.times, at], ops: [...series.ops, sample.ops_per_second], memory: [...series.memory, sample.memory_bytes],
    keys: [...series.keys, sample.keys], latency: [...series.latency, sample.latency_us / 1000],
  };
  if (next.times.length > POINTS_MAX) for (const values of Object.values(next)) values.shift();
  all[name] = next;
}

export function nodesOf(status: InstanceStatus): NodeStatus[] {
  return [...status.shards.flatMap((it) => [it.primary, ...it.replicas]), ...status.other_nodes];
}
