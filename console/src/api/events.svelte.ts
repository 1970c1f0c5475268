// Follows the server's events: what they tell is put where the pages look, and what they make old is
// asked for anew. The browser connects again by itself and says which event it saw last.
import type { QueryClient } from '@tanstack/svelte-query';
import { addSamples } from './series.svelte';
import type { Finding, Operation, Sample } from './types';

export interface Told { id: string; at: number; instance: string; text: string }

const TOLD_MAX = 60;
const stream: { live: boolean; told: Told[] } = $state({ live: false, told: [] });
let source: EventSource | undefined;
/** What was said last of each operation, so that an event that says no more is not told again. */
const said = new Map<string, string>();
let count = 0;

export function live(): boolean { return stream.live; }
export function eventsOf(instance: string): Told[] { return stream.told.filter((it) => it.instance === instance); }

function tell(instance: string, text: string): void {
  count += 1;
  stream.told = [{ id: String(count), at: Date.now(), instance, text }, ...stream.told].slice(0, TOLD_MAX);
}

function sentence(operation: Operation): string {
  const phase = operation.phases.at(-1);
  if (operation.state !== 'running') return `${operation.verb}: ${operation.state}${operation.problem ? `, ${operation.problem.title}` : ''}`;
  return phase ? `${operation.verb} ${phase.number}/${phase.of}: ${phase.title}` : operation.verb;
}

export function follow(queries: QueryClient): void {
  unfollow();
  source = new EventSource('/api/v1/events');
  source.onopen = () => { stream.live = true; };
  source.onerror = () => { stream.live = false; };
  on<Operation>('operation', (operation) => {
    queries.setQueryData(['operation', operation.id], operation);
    const text = sentence(operation);
    if (said.get(operation.id) === text) return;
    said.set(operation.id, text);
    tell(operation.instance, text);
    for (const key of [['operations'], ['instances'], ['status', operation.instance], ['slots', operation.instance]]) void queries.invalidateQueries({ queryKey: key });
  });
  on<{ instance: string; finding: Finding }>('finding', ({ instance, finding }) => tell(instance, finding.message));
  on<{ instance: string; sample: Sample }>('sample', ({ instance, sample }) => addSamples(instance, [sample]));
  on<{ instance: string; workload: string; line: string }>('job_output', ({ instance, workload, line }) => tell(instance, `${workload}: ${line}`));
  on('gap', () => void queries.invalidateQueries());
}

function on<T>(kind: string, act: (data: T) => void): void {
  source?.addEventListener(kind, (event) => act(JSON.parse((event as MessageEvent<string>).data) as T));
}

export function unfollow(): void {
  source?.close();
  source = undefined;
  stream.live = false;
}
