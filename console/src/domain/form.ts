// A form from a template's variables: what each field shows, and what is wrong with what was typed.
// The server checks again; this only says it sooner.

export interface Variable {
  name: string;
  type: string;
  default?: string | null;
  min?: number | null;
  max?: number | null;
  choices?: string[] | null;
  pattern?: string | null;
  description?: string | null;
}

export type FieldKind = 'number' | 'text' | 'size' | 'switch' | 'choice' | 'secret';

export interface Field {
  name: string;
  label: string;
  kind: FieldKind;
  initial: string;
  choices: string[];
  min?: string;
  max?: string;
  pattern?: string;
  hint: string;
}

export type Problem =
  | { what: 'not_a_number' }
  | { what: 'not_a_size' }
  | { what: 'too_small'; bound: string }
  | { what: 'too_big'; bound: string }
  | { what: 'not_allowed' };

const KINDS: Record<string, FieldKind> = {
  int: 'number', size: 'size', bool: 'switch', string: 'text', enum: 'choice', secret: 'secret',
};

export function fieldOf(variable: Variable): Field {
  return {
    name: variable.name,
    label: variable.name.toLowerCase().replaceAll('_', ' ').replace(/^./, (it) => it.toUpperCase()),
    kind: KINDS[variable.type] ?? 'text',
    initial: variable.default ?? '',
    choices: variable.choices ?? [],
    min: boundOf(variable, variable.min),
    max: boundOf(variable, variable.max),
    pattern: variable.pattern ?? undefined,
    hint: variable.description ?? '',
  };
}

/** A bound as a person would write it: the bytes of a size as 32MiB. */
function boundOf(variable: Variable, bound: number | null | undefined): string | undefined {
  if (bound === null || bound === undefined) return undefined;
  if (variable.type !== 'size') return String(bound);
  const unit = ['TiB', 'GiB', 'MiB', 'KiB'].find((it) => bound > 0 && bound % UNITS[it.toLowerCase()]! === 0);
  return unit ? `${bound / UNITS[unit.toLowerCase()]!}${unit}` : String(bound);
}

const UNITS: Record<string, number> = {
  '': 1, b: 1, k: 1e3, kb: 2 ** 10, kib: 2 ** 10, m: 1e6, mb: 2 ** 20, mib: 2 ** 20,
  g: 1e9, gb: 2 ** 30, gib: 2 ** 30, t: 1e12, tb: 2 ** 40, tib: 2 ** 40,
};

/** Bytes of `256MiB` or `1gb`, with the units of redis.conf; nothing where it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = match && UNITS[match[2]!.toLowerCase()];
  return match && unit ? Number(match[1]) * unit : undefined;
}

export function problemOf(field: Field, text: string): Problem | undefined {
  if (text === '' && field.kind !== 'number' && field.kind !== 'size') return undefined;
  switch (field.kind) {
    case 'number':
      return /^-?\d+$/.test(text) ? outside(field, Number(text), Number) : { what: 'not_a_number' };
    case 'size': {
      const bytes = parseSize(text);
      return bytes === undefined ? { what: 'not_a_size' } : outside(field, bytes, (it) => parseSize(it) ?? NaN);
    }
    case 'choice':
      return field.choices.length === 0 || field.choices.includes(text) ? undefined : { what: 'not_allowed' };
    case 'text':
      return field.pattern && !new RegExp(`^(?:${field.pattern})$`).test(text) ? { what: 'not_allowed' } : undefined;
    case 'switch':
    case 'secret':
      return undefined;
  }
}

function outside(field: Field, value: number, read: (bound: string) => number): Problem | undefined {
  if (field.min && value < read(field.min)) return { what: 'too_small', bound: field.min };
  if (field.max && value > read(field.max)) return { what: 'too_big', bound: field.max };
  return undefined;
}

/** What was changed, as `--set` would say it: a default that stands is not sent. */
export function changedValues(fields: Field[], values: Record<string, string>): Record<string, string> {
  const changed = fields.filter((it) => values[it.name] !== undefined && values[it.name] !== it.initial);
  return Object.fromEntries(changed.map((it) => [it.name, values[it.name]!]));
}
