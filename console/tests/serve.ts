// A `shardyard serve` of the test's own: its own folder, port and instances; stopped by its own id.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** A start takes a fraction of a second; a busy machine gets more. */
const START_MS_MAX = 20_000;
const root = resolve(import.meta.dirname, '../..');

function program(): string {
  const found = [process.env.SHARDYARD_BIN, join(root, 'target/release/shardyard'), join(root, 'target/debug/shardyard')]
    .find((it) => it !== undefined && existsSync(it));
  if (!found) throw new Error('build shardyard first, or name it by SHARDYARD_BIN');
  return found;
}

/** The folder of a Valkey, where there is one: in SHARDYARD_SERVERS, or among the fetched ones. */
const valkey = [process.env.SHARDYARD_SERVERS, join(root, 'target/servers')].flatMap((it) => it ? [it, join(it, 'valkey-9.1/bin')] : [])
  .find((it) => existsSync(join(it, 'valkey-server')));

/** The surroundings of the program: its own state, and the servers that it finds. */
function surroundings(home: string): NodeJS.ProcessEnv {
  return { ...process.env, SHARDYARD_HOME: home, SHARDYARD_SERVERS: valkey ?? '', NO_COLOR: '1' };
}

async function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once('error', fail);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => (typeof address === 'object' && address ? done(address.port) : fail(new Error('no port'))));
    });
  });
}

export class Served {
  readonly valkey = valkey;
  private constructor(readonly url: string, readonly token: string, private readonly home: string, private readonly child: ChildProcess) {}

  static async start(): Promise<Served> {
    const home = mkdtempSync(join(tmpdir(), 'sy-console-'));
    const port = await freePort();
    const child = spawn(program(), ['serve', '--listen', `127.0.0.1:${port}`], {
      env: surroundings(home), stdio: ['ignore', 'pipe', 'pipe'],
    });
    let told = '';
    const token = await new Promise<string>((done, fail) => {
      const limit = setTimeout(() => fail(new Error(`serve told no token:\n${told}`)), START_MS_MAX);
      const read = (text: Buffer) => {
        told += text.toString();
        const match = /token\S*\s*:?\s+([A-Za-z0-9_-]{20,})/i.exec(told);
        if (match && /127\.0\.0\.1:\d+/.test(told)) { clearTimeout(limit); done(match[1]!); }
      };
      child.stdout!.on('data', read);
      child.stderr!.on('data', read);
      child.once('exit', (code) => { clearTimeout(limit); fail(new Error(`serve ended with ${code}:\n${told}`)); });
    }).catch((error: unknown) => {
      child.kill('SIGKILL');
      rmSync(home, { recursive: true, force: true });
      throw error;
    });
    return new Served(`http://127.0.0.1:${port}`, token, home, child);
  }

  /** The command line on the same state, as a user would use it beside the server. */
  run(...words: string[]): string {
    return execFileSync(program(), words, { env: surroundings(this.home), encoding: 'utf8', timeout: 60_000 });
  }

  /** A secret of an instance, to see that it is nowhere. */
  secret(instance: string, name: string): string {
    return readFileSync(join(this.home, 'instances', instance, 'secrets', name), 'utf8').trim();
  }

  async stop(): Promise<void> {
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGTERM');
    const killer = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(killer);
    const { instances } = JSON.parse(this.run('ls', '-o', 'json')) as { instances: { name: string }[] };
    for (const { name } of instances) this.run('down', name, '--delete-data', '--yes', '--confirm', name);
    rmSync(this.home, { recursive: true, force: true });
  }
}
