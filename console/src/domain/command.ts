// The command line that does what a button does. A word is quoted as a shell needs it.

export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export function commandLine(...words: (string | false | undefined | null)[]): string {
  return ['shardyard', ...words.filter((it): it is string => typeof it === 'string' && it !== '')]
    .map(quoted)
    .join(' ');
}

/** A secret that was typed is never shown again, not even in a command line. */
export function setOptions(values: Record<string, string>, secrets: Set<string>): string[] {
  return Object.entries(values).flatMap(([name, value]) =>
    secrets.has(name) ? [] : ['--set', `${name}=${value}`]);
}
