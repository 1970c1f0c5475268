// Speaks to the server: one request in, an answer or a Problem out. Knows nothing of the pages.

import type { Problem as ProblemBody } from './types';

const BASE = '/api/v1';
/** A plan or a template is made in less; longer than this nobody waits in front of a page. */
const ANSWER_MS_MAX = 30_000;

/** An error of the API, as problem+json tells it. */
export class Problem extends Error {
  constructor(readonly status: number, message: string, readonly code: string, readonly help: string, readonly detail: string[]) {
    super(message);
  }
}

type ProblemText = Partial<ProblemBody>;

async function problemOf(response: Response): Promise<Problem> {
  const text = (await response.json().catch(() => ({}))) as ProblemText;
  return new Problem(response.status, text.title ?? `HTTP ${response.status}`, text.code ?? '', text.help ?? '',
    [...(text.causes ?? []), ...(text.detail ?? [])]);
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export async function ask<T>(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const limit = AbortSignal.timeout(ANSWER_MS_MAX);
  const response = await fetch(BASE + path, {
    method,
    credentials: 'same-origin',
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      // A request that is sent again after a lost answer is then the same request.
      ...(method === 'POST' ? { 'idempotency-key': crypto.randomUUID() } : {}),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw await problemOf(response);
  if (response.status === 204) return undefined as T;
  const type = response.headers.get('content-type') ?? '';
  return (type.includes('json') ? await response.json() : await response.text()) as T;
}
