// The last hour of each instance: what the server kept, and what the events add, in order of time.
import type { InstanceStatus, NodeStatus, Sample } from './types';

/** As many as the server keeps: a page that stays open does not grow for ever. */
const POINTS_MAX = 720;

export interface Series { times: number[]; ops: number[]; memory: number[]; keys: number[]; latency: number[] }

const all: Record<string, Sample[]> = {};
const shown: Record<string, Series> = $state({});

export function seriesOf(name: string): Series {
  return shown[name] ?? { times: [], ops: [], memory: [], keys: [], latency: [] };
}

export function addSamples(name: string, samples: Sample[]): void {
  const merged = merge(all[name] ?? [], samples);
  all[name] = merged;
  shown[name] = {
    times: merged.map((it) => it.at_ms / 1000), ops: merged.map((it) => it.ops_per_second), memory: merged.map((it) => it.memory_bytes),
    keys: merged.map((it) => it.keys), latency: merged.map((it) => it.latency_us / 1000),
  };
}

/** Both in order of time, each moment once, the newest at the end. */
function merge(before: Sample[], more: Sample[]): Sample[] {
  const byTime = new Map([...before, ...more].map((it) => [it.at_ms, it]));
  return [...byTime.values()].sort((a, b) => a.at_ms - b.at_ms).slice(-POINTS_MAX);
}

export function nodesOf(status: InstanceStatus): NodeStatus[] {
  return [...status.shards.flatMap((it) => [it.primary, ...it.replicas]), ...status.other_nodes];
}
