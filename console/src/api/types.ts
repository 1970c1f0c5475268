// The contract's types under the names that the pages use. They are generated from docs/openapi.json.
import type { components } from './schema';

type Schemas = components['schemas'];
export type AuditEntry = Schemas['AuditEntry'];
export type ClientList = Schemas['ClientList'];
export type ExecAnswer = Schemas['ExecAnswer'];
export type Finding = Schemas['FindingBody'];
export type InstanceRow = Schemas['InstanceRow'];
export type InstanceStatus = Schemas['InstanceStatus'];
export type LogLine = Schemas['LogLine'];
export type Me = Schemas['Me'];
export type NodeDetail = Schemas['NodeDetail'];
export type NodeStatus = Schemas['Node'];
export type Operation = Schemas['OperationBody'];
export type Plan = Schemas['PlanBody'];
export type Problem = Schemas['ProblemBody'];
export type RenderedFile = Schemas['RenderedFile'];
export type Sample = Schemas['Sample'];
export type SettingList = Schemas['SettingList'];
export type Shard = Schemas['Shard'];
export type SlotFigures = Schemas['SlotFigures'];
export type SlotOwners = Schemas['SlotMap'];
export type SlowLog = Schemas['SlowLog'];
export type Template = Schemas['TemplateDetail'];
export type TemplateProblem = Schemas['LintProblem'];
export type TemplateRow = Schemas['TemplateRow'];

/** Which primaries change: that of one node's shard, or all that are not where they were planned. */
export type Handover = { node: string } | { spread: true };

/** What the wizard asks for. */
export interface Wish { name: string; template: string; engine: string; set: Record<string, string> }
