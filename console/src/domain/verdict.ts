// What is to be said of an instance in one sentence, and which node is the hottest.
import type { Word } from '../i18n/en';

export const VERDICTS: Record<string, Word> = {
  ready: 'verdict_ready', converging: 'verdict_converging', degraded: 'verdict_degraded',
  unavailable: 'verdict_unavailable', stopped: 'verdict_stopped',
};

/** The index of the highest value, where it stands out: alone at the top, and well above the mean. */
export function hottest(values: (number | null | undefined)[]): number | undefined {
  const known = values.filter((it): it is number => typeof it === 'number');
  if (known.length < 2) return undefined;
  const top = Math.max(...known);
  const mean = known.reduce((sum, it) => sum + it, 0) / known.length;
  const alone = values.filter((it) => it === top).length === 1;
  return alone && top > mean * 1.15 ? values.indexOf(top) : undefined;
}

/** Words of a command line as redis-cli splits them: quotes hold a word together. */
export function splitWords(line: string): string[] {
  const words = [...line.matchAll(/"((?:\\.|[^"\\])*)"|'((?:\\'|[^'])*)'|(\S+)/g)];
  return words.map(([, double, single, bare]) =>
    double !== undefined ? double.replace(/\\(.)/g, (_, it: string) => ({ n: '\n', r: '\r', t: '\t' })[it] ?? it)
    : single !== undefined ? single.replaceAll("\\'", "'") : bare!);
}
