// A user's day: signs in, delivers a cluster by clicks, watches it grow, sees a killed node come back,
// delivers the nodes-and-a-job template and talks to a node. Then every page is looked at by axe.
import AxeBuilder from '@axe-core/playwright';
import { expect, test, type Page } from '@playwright/test';
import { join } from 'node:path';
import { Served } from './serve';

const SHOTS = join(import.meta.dirname, '../../target/console/pages');

test.describe.configure({ mode: 'serial' });
let served: Served;
let page: Page;
const refused: string[] = [];

test.beforeAll(async ({ browser }) => {
  served = await Served.start();
  page = await (await browser.newContext({ viewport: { width: 1280, height: 860 } })).newPage();
  page.on('console', (message) => { if (/Content Security Policy|violates/i.test(message.text())) refused.push(message.text()); });
  page.on('pageerror', (error) => refused.push(error.message));
});
test.afterAll(async () => { await served?.stop(); });

async function open(path: string): Promise<void> {
  await page.goto(`${served.url}/#/${path}`);
}
async function shot(name: string): Promise<void> {
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}
async function nothingSerious(where: string, rules?: string[]): Promise<void> {
  const axe = new AxeBuilder({ page });
  const { violations } = await (rules ? axe.withRules(rules) : axe).analyze();
  const serious = violations.filter((it) => it.impact === 'serious' || it.impact === 'critical');
  expect(serious.map((it) => `${it.id}: ${it.nodes[0]?.html}`), where).toEqual([]);
}
/** The page's own word for the state beside the instance's name. */
const state = () => page.locator('h1 + .mark');

test('a wrong token is refused, the right one opens once, the password again', async () => {
  await open('');
  await page.getByLabel('Token').fill('not-the-token-that-was-printed');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await nothingSerious('sign in');
  await shot('sign-in');
  await page.getByLabel('Token').fill(served.token);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await expect(page.getByText('The one-time token counts once.')).toBeVisible();
  await page.getByLabel('Password').fill('a long walk by the sea');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('status')).toHaveText('Saved as admin.');
  await nothingSerious('users');
  await shot('users');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('button', { name: 'Sign in', exact: true })).toBeVisible();
  await page.getByLabel('User').fill('admin');
  await page.getByLabel('Password').fill('a long walk by the sea');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('link', { name: 'Instances', exact: true }).click();
  await expect(page.getByText('Nothing runs here yet.')).toBeVisible();
});

test('from the gallery through the wizard to a running cluster', async () => {
  await page.getByRole('link', { name: 'Deliver an instance' }).click();
  await page.getByRole('link', { name: 'Use it redis-cluster' }).click();
  await page.getByLabel('Name of the instance').fill('orders');
  await page.getByLabel('Engine').selectOption('process');
  await page.getByLabel(/^Shards/).fill('0');
  await expect(page.getByText('at least 1')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Deliver', exact: true })).toBeDisabled();
  await page.getByLabel(/^Shards/).fill('3');
  await expect(page.locator('.preview').getByText('redis-1', { exact: true }).first()).toBeVisible();
  await expect(page.locator('code', { hasText: 'up redis-cluster --name orders --engine process --yes' })).toBeVisible();
  await shot('wizard');
  await nothingSerious('wizard');
  await page.getByRole('tab', { name: 'Files' }).click();
  await expect(page.locator('pre', { hasText: 'cluster-enabled yes' })).toBeVisible();
  await shot('wizard-files');
  await page.getByRole('button', { name: 'Deliver', exact: true }).click();
  await expect(page.locator('h1 + .mark', { hasText: 'done' })).toBeVisible({ timeout: 40_000 });
  await shot('operation');
  await page.getByRole('link', { name: 'orders', exact: true }).click();
  await expect(state()).toHaveText(/ready/);
  await expect(page.getByText('Every slot takes a write')).toBeVisible();
});

test('a key is found where the cluster says it is', async () => {
  await page.getByRole('link', { name: 'Slots', exact: true }).click();
  for (const key of ['foo', '{user1000}.cart', 'foo{}{bar}']) {
    await page.getByLabel('Which slot has the key?').fill(key);
    const slot = served.run('cli', 'orders', 'cluster', 'keyslot', key).trim().replace(/\D/g, '');
    await expect(page.getByRole('status').filter({ hasText: `is in slot ${slot},` })).toBeVisible();
  }
});

test('the slot map shows what slots hold, and says what the servers do not count', async () => {
  served.run('cli', 'orders', '-c', 'set', 'foo', 'bar');
  await open('instances/orders/slots');
  await page.getByRole('radio', { name: 'keys' }).check();
  await page.getByRole('button', { name: 'To the largest, slot 12182' }).click();
  const map = page.getByRole('slider', { name: 'Slots' });
  await expect(map).toHaveAttribute('aria-valuetext', /^Slot 12182: shard 3 at .*; keys: 1$/);
  await map.focus();
  await page.keyboard.press('ArrowRight');
  await expect(map).toHaveAttribute('aria-valuetext', /^Slot 12183: .*; keys: 0$/);
  for (const measure of ['memory', 'load']) {
    await expect(page.getByRole('radio', { name: measure })).toBeDisabled();
    await expect(page.getByText(`${measure}: these servers do not count it by slot. Valkey counts by slot since 8.0`)).toBeVisible();
  }
  await shot('slots-keys');
  await nothingSerious('slots by keys');
  await page.getByRole('radio', { name: 'owner' }).check();
  served.run('cli', 'orders', '-c', 'del', 'foo');
});

test('a scale-out is watched on the slot map', async () => {
  await page.getByRole('link', { name: 'Scale and balance' }).click();
  const button = page.getByRole('button', { name: 'Scale', exact: true });
  await expect(button).toBeDisabled();
  await page.getByLabel('Shards', { exact: true }).fill('4');
  await page.getByRole('button', { name: 'Show the plan' }).first().click();
  await expect(button).toBeEnabled();
  await shot('scale');
  await nothingSerious('scale');
  // Slots move within a second or two: who wants to see it has the map open before.
  const watcher = await page.context().newPage();
  await watcher.goto(`${served.url}/#/instances/orders/slots`);
  await expect(watcher.locator('tbody tr')).toHaveCount(3);
  await expect(watcher.locator('canvas')).toHaveAttribute('data-moved', '0');
  await button.click();
  await expect(watcher.locator('canvas')).toHaveAttribute('data-moved', /^[1-9]\d*$/, { timeout: 40_000 });
  await watcher.screenshot({ path: join(SHOTS, 'slots-moving.png') });
  await expect(watcher.locator('tbody tr')).toHaveCount(4, { timeout: 40_000 });
  await expect(watcher.locator('h1 + .mark')).toHaveText(/ready/, { timeout: 40_000 });
  // A quarter of the slots, and each once: a shard that joins in between must not recolour the others.
  await expect(watcher.locator('canvas')).toHaveAttribute('data-moved', '4096');
  await watcher.close();
  await open('operations');
  await page.getByRole('link', { name: 'scale' }).first().click();
  await expect(page.getByText('0 acknowledged writes lost')).toBeVisible({ timeout: 40_000 });
});

test('a killed primary comes back in view, as a replica', async () => {
  await open('instances/orders/nodes');
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'redis-1', exact: true }) });
  await expect(row).toContainText('primary');
  const pid = /process_id:(\d+)/.exec(served.run('exec', 'orders', 'redis-1', '--', 'redis-cli', 'info', 'server'))?.[1];
  process.kill(Number(pid), 'SIGKILL');
  await expect(row).toContainText('replica', { timeout: 30_000 });
  await expect(row).not.toContainText('not linked', { timeout: 30_000 });
  await expect(state()).toHaveText(/ready/, { timeout: 30_000 });
  await shot('nodes');
});

/** The plan is shown, then the button works; it leads to the operation, which comes to a good end. */
async function failOver(): Promise<void> {
  const part = page.locator('section').filter({ has: page.getByRole('button', { name: 'Fail over', exact: true }) });
  const button = part.getByRole('button', { name: 'Fail over', exact: true });
  await expect(button).toBeDisabled();
  await part.getByRole('button', { name: 'Show the plan' }).click();
  await expect(button).toBeEnabled();
  await button.click();
  await expect(page.locator('h1 + .mark', { hasText: 'done' })).toBeVisible({ timeout: 40_000 });
  await expect(page.getByText('0 acknowledged writes lost')).toBeVisible();
}
async function expectRole(workload: string, role: string): Promise<void> {
  await open('instances/orders/nodes');
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: workload, exact: true }) });
  await expect(row).toContainText(role);
}

test('a replica takes over by the button, and the way back is a plan too', async () => {
  // Redis 7.0 is given the time of an election before each handover.
  test.setTimeout(120_000);
  await open('instances/orders/topology');
  const replica = page.getByRole('button', { name: /^redis-\d+, replica/ }).first();
  const heir = /^redis-\d+/.exec((await replica.getAttribute('aria-label')) ?? '')![0];
  await replica.click();
  await expect(page.locator('code', { hasText: `shardyard failover orders ${heir} --yes` })).toBeVisible();
  await shot('failover');
  await nothingSerious('failover');
  await failOver();
  await expectRole(heir, 'primary');
  await open('instances/orders/change');
  await expect(page.locator('code', { hasText: 'shardyard failover orders --spread --yes' })).toBeVisible();
  const second = (await page.locator('#heir option', { hasText: '(shard 3)' }).getAttribute('value'))!;
  await page.getByLabel('Who takes over').selectOption(second);
  await expect(page.locator('code', { hasText: `shardyard failover orders ${second} --yes` })).toBeVisible();
  await failOver();
  await expectRole(second, 'primary');
  await open('instances/orders/change');
  const part = page.locator('section').filter({ has: page.getByLabel('Who takes over') });
  await part.getByRole('button', { name: 'Show the plan' }).click();
  await expect(part.locator('.plan')).toBeVisible();
  await expect(state()).toHaveText(/ready/, { timeout: 30_000 });
});

test('a node tells its settings, clients and slow commands, and no password', async () => {
  // Every command counts as slow, and one of them has a password among its words.
  for (const words of [['config', 'set', 'slowlog-log-slower-than', '0'], ['config', 'set', 'maxmemory-policy', 'allkeys-lru'], ['auth', 'shardyard', 'hunter2']]) {
    served.run('exec', 'orders', 'redis-3', '--', 'redis-cli', ...words);
  }
  const secrets = ['PASSWORD', 'OPERATOR_PASSWORD', 'REPLICATION_PASSWORD'].map((it) => served.secret('orders', it));
  const told: string[] = [];
  page.on('response', (answer) => { if (answer.url().includes('/nodes/redis-3')) void answer.text().then((text) => told.push(text), () => undefined); });
  await open('instances/orders/nodes/redis-3');
  const row = (name: string) => page.getByRole('row').filter({ has: page.getByRole('cell', { name, exact: true }) });
  await page.getByRole('button', { name: 'Settings' }).click();
  await expect(page.getByRole('status')).toHaveText('Settings of the file that do not run as written: 1');
  await expect(row('maxmemory-policy')).toContainText(/noeviction.*allkeys-lru.*differs/);
  await expect(row('hz')).toHaveCount(0);
  await page.getByRole('checkbox').check();
  await expect(row('hz')).toContainText('not in the file');
  await expect(row('masterauth')).toHaveText(/^masterauth\s*secret$/);
  await shot('node-settings');
  await nothingSerious('settings');
  await page.getByRole('button', { name: 'Clients' }).click();
  await expect(page.getByRole('row').filter({ hasText: 'client list' })).toContainText('shardyard');
  await shot('node-clients');
  await nothingSerious('clients');
  await page.getByRole('button', { name: 'Slow log' }).click();
  await page.getByLabel('Filter').fill('auth');
  await expect(page.getByRole('cell', { name: /auth.*redacted/i }).first()).toBeVisible();
  await shot('node-slow-log');
  await nothingSerious('slow log');
  served.run('exec', 'orders', 'redis-3', '--', 'redis-cli', 'config', 'set', 'slowlog-log-slower-than', '10000');
  served.run('exec', 'orders', 'redis-3', '--', 'redis-cli', 'config', 'set', 'maxmemory-policy', 'noeviction');
  expect(told.length).toBeGreaterThan(2);
  expect([...secrets, 'hunter2'].filter((secret) => told.some((text) => text.includes(secret)))).toEqual([]);
});

test('nodes and a job, from the gallery to info in the terminal', async () => {
  await open('templates');
  await page.getByRole('link', { name: 'Use it redis-sharding' }).click();
  await page.getByLabel('Name of the instance').fill('talk');
  await page.getByLabel('Engine').selectOption('process');
  const deliver = page.getByRole('button', { name: 'Deliver', exact: true });
  await expect(deliver).toBeEnabled();
  await deliver.click();
  await expect(page.locator('h1 + .mark', { hasText: 'done' })).toBeVisible({ timeout: 55_000 });
  await open('instances/talk/nodes/redis-1');
  await page.getByRole('button', { name: 'Terminal' }).click();
  await page.getByLabel('Command').fill('info server');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('log')).toContainText('redis_version:');
  await page.keyboard.press('ArrowUp');
  await expect(page.getByLabel('Command')).toHaveValue('info server');
  await page.getByLabel('Command').fill('flushall');
  await page.keyboard.press('Enter');
  await expect(page.getByLabel('Type talk to go on:')).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page.getByLabel('Command')).toBeVisible();
  await shot('terminal');
  await nothingSerious('terminal');
});

test('load is shown where the server counts it', async () => {
  test.skip(served.valkey === undefined, 'there is no Valkey');
  served.run('up', 'redis-cluster', '--name', 'valley', '--engine', 'process', '--set', 'IMAGE=valkey/valkey:9', '--set', 'REPLICAS_NUM=0', '--yes');
  await open('instances/valley/slots');
  await expect(page.getByText('load: not counted: cluster-slot-stats-enabled is off')).toBeVisible();
  await expect(page.getByText('memory: these servers do not count it by slot.')).toBeVisible();
  for (const node of ['redis-1', 'redis-2', 'redis-3']) served.run('exec', 'valley', node, '--', 'redis-cli', 'config', 'set', 'cluster-slot-stats-enabled', 'yes');
  served.run('cli', 'valley', '-c', 'set', 'foo', 'bar');
  await page.reload();
  await page.getByRole('radio', { name: 'load' }).check();
  await page.getByRole('button', { name: 'To the largest, slot 12182' }).click();
  await expect(page.getByRole('slider', { name: 'Slots' })).toHaveAttribute('aria-valuetext', /; load: [1-9]\d* µs$/);
  await expect(page.getByRole('radio', { name: 'memory' })).toBeDisabled();
  // Heat over time: nothing came since the look before, until something does.
  const load = page.getByRole('slider', { name: 'Slots' });
  const back = page.getByRole('slider', { name: 'Back in time' });
  await expect(back).toBeEnabled({ timeout: 20_000 });
  await page.getByRole('checkbox', { name: 'only what came since the look before' }).check();
  await expect(load).toHaveAttribute('aria-valuetext', /; load: 0 µs$/, { timeout: 20_000 });
  served.run('cli', 'valley', '-c', 'set', 'foo', 'bar');
  await expect(load).toHaveAttribute('aria-valuetext', /; load: [1-9]\d* µs$/, { timeout: 20_000 });
  await back.focus();
  await page.keyboard.press('End');
  await expect(back).not.toHaveValue('0');
  await shot('slots-load');
  served.run('down', 'valley', '--delete-data', '--yes', '--confirm', 'valley');
});

test('an instance is deleted only when its name is typed', async () => {
  await open('instances/talk');
  await page.getByRole('button', { name: 'Delete with its data' }).click();
  const dialog = page.getByRole('dialog');
  const severe = dialog.getByRole('button', { name: 'Delete with its data' });
  await expect(severe).toBeDisabled();
  await nothingSerious('confirm');
  await shot('confirm');
  await dialog.getByRole('textbox').fill('talk');
  await severe.click();
  await expect(page.locator('h1 + .mark', { hasText: 'done' })).toBeVisible({ timeout: 40_000 });
  expect(served.run('ls')).not.toContain('talk');
});

/** What can differ between light and dark, and between widths and languages; the rest cannot. */
const RULES: Record<string, string[] | undefined> = {
  'light 1280': undefined, 'dark 1280': ['color-contrast'], 'light 360': ['label', 'button-name', 'link-name', 'scrollable-region-focusable'],
};
const PAGES: [string, string][] = [
  ['instances', 'instances'], ['instances/orders', 'overview'], ['instances/orders/topology', 'topology'], ['instances/orders/slots', 'slots'],
  ['instances/orders/nodes', 'nodes-table'], ['instances/orders/nodes/redis-2', 'node'], ['instances/orders/change', 'change'], ['templates', 'templates'],
  ['templates/redis-cluster/edit', 'editor'], ['operations', 'operations'], ['audit', 'audit'], ['people', 'people'], ['checks', 'checks'],
];

for (const [scheme, width, tongue] of [['light', 1280, 'en'], ['dark', 1280, 'en'], ['light', 360, 'zh']] as const) {
  test(`every page is sound: ${scheme}, ${width} px, ${tongue}`, async () => {
    await page.setViewportSize({ width, height: 860 });
    await page.emulateMedia({ colorScheme: scheme });
    await open('instances');
    if (tongue === 'zh') await page.getByRole('button', { name: 'Language' }).click();
    for (const [path, name] of PAGES) {
      await open(path);
      await expect(page.locator('main h1')).toBeVisible();
      await expect(page.getByText(/^(Looking…|正在查看…)$/)).toHaveCount(0);
      await expect(page.getByRole('alert')).toHaveCount(0);
      await nothingSerious(`${path} ${scheme} ${width}`, RULES[`${scheme} ${width}`]);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(over, `${path} is wider than ${width} px`).toBeLessThanOrEqual(0);
      await shot(`${name}-${scheme}-${width}-${tongue}`);
    }
    if (tongue === 'zh') await page.getByRole('button', { name: '语言' }).click();
  });
}

test('the slot map works by keyboard, and nothing was refused by the content policy', async () => {
  await page.setViewportSize({ width: 1280, height: 860 });
  await open('instances/orders/slots');
  const map = page.getByRole('slider', { name: 'Slots' });
  await map.focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  await expect(map).toHaveAttribute('aria-valuenow', '129');
  await expect(page.getByText('Slot 129: shard')).toBeVisible();
  const policy = (await page.request.get(served.url)).headers()['content-security-policy']!;
  expect(policy).toContain("default-src 'self'");
  expect(policy).not.toContain('unsafe');
  expect(refused).toEqual([]);
});
