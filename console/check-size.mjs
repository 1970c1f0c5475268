// Holds the console to its budget: what the first page loads, and all of dist, after gzip.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const FIRST_LOAD_KIB_MAX = 120;
const DIST_KIB_MAX = 500;

const files = (folder) =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });
const kib = (path) => gzipSync(readFileSync(path), { level: 9 }).length / 1024;

/** A file and all that it imports at once; what it imports when it is needed comes later. */
function closure(path, seen) {
  if (seen.has(path)) return;
  seen.add(path);
  if (!path.endsWith('.js')) return;
  for (const [, name] of readFileSync(path, 'utf8').matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)) closure(join('dist/assets', name), seen);
}

// The first page is the list of instances, with its style sheets.
const page = readFileSync('dist/index.html', 'utf8');
const entry = [...page.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map((it) => join('dist', it[1]));
const firstPage = files('dist/assets').filter((path) => /\/(Pages|Instances|InstanceCard|Problem|State)-[^/]*\.(js|css)$/.test(path));
const loaded = new Set(['dist/index.html']);
for (const path of [...entry, ...firstPage]) closure(path, loaded);
const first = [...loaded].reduce((sum, path) => sum + kib(path), 0);
const all = files('dist').reduce((sum, path) => sum + kib(path), 0);
console.log(`first load ${first.toFixed(1)} of ${FIRST_LOAD_KIB_MAX} KiB, dist ${all.toFixed(1)} of ${DIST_KIB_MAX} KiB, gzip`);
if (first > FIRST_LOAD_KIB_MAX || all > DIST_KIB_MAX) process.exit(1);
