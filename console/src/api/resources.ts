// What can be asked of the server, a function each, in the words of the pages.
import { inLastingOrder } from '../domain/slots';
import { ask } from './client';
import type {
  AuditEntry, ClientList, ExecAnswer, Finding, Handover, InstanceRow, InstanceStatus, LogLine, Me, NodeDetail, Operation, Plan, RenderedFile, Sample, SettingList, SlotFigures, SlotOwners, SlowLog,
  Template, TemplateProblem, TemplateRow, Wish,
} from './types';

const at = (...parts: string[]) => parts.map((it) => `/${encodeURIComponent(it)}`).join('');

const BY_PASSWORD = 'signed-in-by-password';

export const sessions = {
  me: () => ask<Me>('GET', '/me'),
  login: async (who: { token: string } | { user: string; password: string }) => {
    const me = await ask<Me>('POST', '/login', who);
    if ('password' in who) localStorage.setItem(BY_PASSWORD, 'yes');
    return me;
  },
  /** Who has been here before has a password; the token counts once. */
  byPassword: () => localStorage.getItem(BY_PASSWORD) !== null,
  logout: () => ask<void>('POST', '/logout'),
};

function upBody(wish: Wish) {
  return { name: wish.name, template: wish.template, set: wish.set, ...(wish.engine === 'auto' ? {} : { engine: wish.engine }) };
}

export const instances = {
  list: () => ask<{ instances: InstanceRow[] }>('GET', '/instances').then((it) => it.instances),
  status: (name: string) => ask<InstanceStatus>('GET', `/instances${at(name)}`).then((it) => ({ ...it, shards: inLastingOrder(it.shards) })),
  samples: (name: string) => ask<{ samples: Sample[] }>('GET', `/instances${at(name)}/samples`).then((it) => it.samples),
  slots: (name: string) => ask<SlotOwners>('GET', `/instances${at(name)}/slots`),
  slotFigures: (name: string, by: string) => ask<SlotFigures>('GET', `/instances${at(name)}/slots/figures?by=${by}`),
  node: (name: string, workload: string) => ask<NodeDetail>('GET', `/instances${at(name)}/nodes${at(workload)}`),
  settings: (name: string, workload: string) => ask<SettingList>('GET', `/instances${at(name)}/nodes${at(workload)}/settings`),
  clients: (name: string, workload: string) => ask<ClientList>('GET', `/instances${at(name)}/nodes${at(workload)}/clients`),
  slowLog: (name: string, workload: string) => ask<SlowLog>('GET', `/instances${at(name)}/nodes${at(workload)}/slowlog`),
  logs: (name: string, workload: string) =>
    ask<{ lines: LogLine[] }>('GET', `/instances${at(name)}/logs?of=${encodeURIComponent(workload)}&tail=400`).then((it) => it.lines.map((line) => line.line)),
  exec: (name: string, workload: string, command: string[], confirm?: string) =>
    ask<ExecAnswer>('POST', `/instances${at(name)}/exec`, { command, workload, ...(confirm ? { confirm } : {}) }),
  plan: (wish: Wish) => ask<Plan>('POST', '/instances', { ...upBody(wish), dry_run: true }),
  up: (wish: Wish) => ask<Operation>('POST', '/instances', upBody(wish)),
  start: (name: string) => ask<Operation>('POST', '/instances', { name }),
  down: (name: string, deleteData = false) =>
    ask<Operation>('POST', `/instances${at(name)}/down`, deleteData ? { delete_data: true, confirm: name } : {}),
  scalePlan: (name: string, shape: { shards: number; replicas: number }) => ask<Plan>('POST', `/instances${at(name)}/scale`, { ...shape, dry_run: true }),
  scale: (name: string, shape: { shards: number; replicas: number }) => ask<Operation>('POST', `/instances${at(name)}/scale`, shape),
  rebalancePlan: (name: string, by: string) => ask<Plan>('POST', `/instances${at(name)}/rebalance`, { by, dry_run: true }),
  rebalance: (name: string, by: string) => ask<Operation>('POST', `/instances${at(name)}/rebalance`, { by }),
  pause: (name: string) => ask<unknown>('POST', `/instances${at(name)}/pause`),
  resume: (name: string) => ask<unknown>('POST', `/instances${at(name)}/resume`),
  cancelPlan: (name: string) => ask<Plan>('POST', `/instances${at(name)}/cancel`, { dry_run: true }),
  cancel: (name: string) => ask<Operation>('POST', `/instances${at(name)}/cancel`, {}),
  failoverPlan: (name: string, which: Handover) => ask<Plan>('POST', `/instances${at(name)}/failover`, { ...which, dry_run: true }),
  failover: (name: string, which: Handover) => ask<Operation>('POST', `/instances${at(name)}/failover`, which),
};

export const operations = {
  list: () => ask<{ operations: Operation[] }>('GET', '/operations').then((it) => it.operations),
  get: (id: string) => ask<Operation>('GET', `/operations${at(id)}`),
  cancel: (id: string) => ask<Operation>('POST', `/operations${at(id)}/cancel`),
};

type Files = Record<string, string>;
export const templates = {
  list: () => ask<{ templates: TemplateRow[] }>('GET', '/templates').then((it) => it.templates),
  get: (name: string) => ask<Template>('GET', `/templates${at(name)}`),
  save: (name: string, files: Files) => ask<Template>('PUT', `/templates${at(name)}`, { files }),
  lint: (files: Files) => ask<{ problems: TemplateProblem[] }>('POST', '/lint', { files }).then((it) => it.problems),
  render: (template: string, set: Record<string, string>) =>
    ask<{ files: RenderedFile[] }>('POST', '/render', { template, set }).then((it) => it.files),
};

export const people = {
  list: () => ask<{ users: Me[] }>('GET', '/users').then((it) => it.users),
  put: (user: string, role: Me['role'], password: string) => ask<Me>('PUT', `/users${at(user)}`, { role, password }),
  token: (name: string, role: Me['role']) => ask<{ token: string }>('POST', '/tokens', { name, role }),
};

export const host = {
  doctor: () => ask<{ findings: Finding[] }>('GET', '/doctor').then((it) => it.findings),
  audit: () => ask<{ entries: AuditEntry[] }>('GET', '/audit').then((it) => it.entries),
};
