/**
 * Every command, loaded only when it is needed. `:` stands for the space between the words of a command.
 * A command file loads what is heavy (the agent, libp2p, the schema library) inside run(): help loads them all.
 */
import type { Command } from '@oclif/core'

type Loader = () => Promise<{ default: unknown }>

export const COMMANDS = {
  agent: () => import('./agent.ts'),
  'config:check': () => import('./config/check.ts'),
  'config:schema': () => import('./config/schema.ts'),
  drops: () => import('./drops.ts'),
  flows: () => import('./flows.ts'),
  hosts: () => import('./hosts.ts'),
  keygen: () => import('./keygen.ts'),
  'lab:down': () => import('./lab/down.ts'),
  'lab:exec': () => import('./lab/exec.ts'),
  'lab:list': () => import('./lab/list.ts'),
  'lab:status': () => import('./lab/status.ts'),
  'lab:up': () => import('./lab/up.ts'),
  status: () => import('./status.ts'),
  version: () => import('./version.ts'),
  vips: () => import('./vips.ts'),
} as const satisfies Record<string, Loader>

export type CommandId = keyof typeof COMMANDS
export const COMMAND_IDS = Object.keys(COMMANDS) as CommandId[]

export const TOPICS: Record<string, string> = {
  config: 'Check the node file.',
  lab: 'A whole cluster on this machine, in network namespaces.',
}

export const loadCommand = async (id: CommandId): Promise<Command.Class> =>
  (await COMMANDS[id]()).default as Command.Class
