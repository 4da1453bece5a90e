/**
 * Every command, loaded only when it is needed. `:` stands for the space between the words of a command.
 * A command file loads what is heavy (the agent, libp2p, the schema library) inside run(): help loads them all.
 */
import type { Command } from '@oclif/core'

type Loader = () => Promise<{ default: unknown }>

export const COMMANDS = {
  agent: () => import('./agent.ts'),
  apply: () => import('./apply.ts'),
  apps: () => import('./apps.ts'),
  atoms: () => import('./atoms.ts'),
  backup: () => import('./backup.ts'),
  capture: () => import('./capture.ts'),
  completion: () => import('./completion.ts'),
  'config:check': () => import('./config/check.ts'),
  'config:history': () => import('./config/history.ts'),
  'config:schema': () => import('./config/schema.ts'),
  'config:show': () => import('./config/show.ts'),
  doctor: () => import('./doctor.ts'),
  drain: () => import('./drain.ts'),
  drops: () => import('./drops.ts'),
  events: () => import('./events.ts'),
  evict: () => import('./evict.ts'),
  failover: () => import('./failover.ts'),
  flows: () => import('./flows.ts'),
  hosts: () => import('./hosts.ts'),
  init: () => import('./init.ts'),
  join: () => import('./join.ts'),
  keygen: () => import('./keygen.ts'),
  'keys:rotate': () => import('./keys/rotate.ts'),
  'lab:cut': () => import('./lab/cut.ts'),
  'lab:down': () => import('./lab/down.ts'),
  'lab:exec': () => import('./lab/exec.ts'),
  'lab:list': () => import('./lab/list.ts'),
  'lab:mend': () => import('./lab/mend.ts'),
  'lab:start': () => import('./lab/start.ts'),
  'lab:stop': () => import('./lab/stop.ts'),
  'lab:status': () => import('./lab/status.ts'),
  'lab:up': () => import('./lab/up.ts'),
  leave: () => import('./leave.ts'),
  nodes: () => import('./nodes.ts'),
  plan: () => import('./plan.ts'),
  restore: () => import('./restore.ts'),
  roles: () => import('./roles.ts'),
  rollback: () => import('./rollback.ts'),
  status: () => import('./status.ts'),
  token: () => import('./token.ts'),
  top: () => import('./top.ts'),
  trace: () => import('./trace.ts'),
  undrain: () => import('./undrain.ts'),
  version: () => import('./version.ts'),
  vips: () => import('./vips.ts'),
} as const satisfies Record<string, Loader>

export type CommandId = keyof typeof COMMANDS
export const COMMAND_IDS = Object.keys(COMMANDS) as CommandId[]

export const TOPICS: Record<string, string> = {
  config: 'The cluster document and the node file.',
  keys: 'The secrets that the nodes of a cluster share.',
  lab: 'A whole cluster on this machine, in network namespaces.',
}

export const loadCommand = async (id: CommandId): Promise<Command.Class> =>
  (await COMMANDS[id]()).default as Command.Class
