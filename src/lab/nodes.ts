/** Starting programs inside a place of the lab: agents, web servers, commands. */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { isSea } from 'node:sea'
import { stringify } from 'yaml'
import type { NodeConfigInput } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'
import { createIdentity, createSecret } from '../gossip/identity.ts'
import { procsFiles } from './cgroup.ts'
import { nodeConfig, operatorKeyFile, placeFiles, secretFile } from './node-config.ts'
import { identify } from './processes.ts'
import { type LabProcess, type LabState, labDir } from './state.ts'
import { nodesOf, type PlacePlan } from './topology.ts'

/** Of the sources; not used by the single executable. */
const ROOT = join(import.meta.dirname, '..', '..')

/**
 * How agents are started: this executable itself, or a given one (here or in SHUNT_LAB_BINARY), or the sources with the pinned Node.
 * @throws ShuntError SHUNT_ERR_LAB when it does not exist
 */
export const agentCommand = (binary: string | undefined = process.env.SHUNT_LAB_BINARY): string[] => {
  if (binary !== undefined) {
    if (!existsSync(binary))
      throw new ShuntError('SHUNT_ERR_LAB', `there is no ${binary}; build it with: make build`)
    return [resolve(binary)]
  }
  if (isSea()) return [process.execPath]
  return [join(ROOT, 'node_modules', '.bin', 'node'), '--no-warnings', join(ROOT, 'src', 'main.ts')]
}

/** Joins the cgroups first, so that everything the program starts is counted too. */
const JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift'
/** `ip netns exec` mounts a /sys without the cgroups: they are kept at a place of the lab meanwhile, seen in there only, and moved: removing the lab's files must not reach them. */
const KEEP_CGROUPS = 'mkdir -p "$1"; mount --rbind /sys/fs/cgroup "$1"; shift; exec "$@"'
const SHOW_CGROUPS = 'mount --move "$1" /sys/fs/cgroup; shift; exec "$@"'

/** A program in the namespace and the cgroup of a place. The process id stays the same through all of it. */
export const insideCommand = (state: LabState, place: PlacePlan, argv: string[]): string[] => {
  const enter = ['ip', 'netns', 'exec', place.netns]
  const files = procsFiles(state.cgroups, place.name)
  if (files.length === 0) return [...enter, ...argv]
  const kept = join(labDir(state.name), 'cgroup')
  const sh = (script: string, ...args: string[]): string[] => ['/bin/sh', '-c', script, 'lab', ...args]
  return [
    ...sh(`${JOIN}; exec "$@"`, ...files, '--'),
    ...['unshare', '--mount', ...sh(KEEP_CGROUPS, kept)],
    ...enter,
    ...sh(SHOW_CGROUPS, kept),
    ...argv,
  ]
}

/** `shunt` in there is the program of the agents; it asks the agent of that node, works on its files, and signs by the lab's operator key. */
export const insideEnv = (state: LabState, place: PlacePlan): NodeJS.ProcessEnv => {
  const command = state.agentCommand
  if (command === null || place.kind !== 'node') return process.env
  const bin = command.length === 1 ? dirname(command[0]) : join(ROOT, 'bin')
  const files = placeFiles(labDir(state.name), place.name)
  return {
    ...process.env,
    PATH: `${bin}:${process.env.PATH ?? ''}`,
    SHUNT_SOCKET: files.socket,
    SHUNT_APP_SOCKET: files.appSocket,
    SHUNT_CONFIG: files.config,
    SHUNT_STATE_DIR: files.state,
    SHUNT_OPERATOR_KEY: operatorKeyFile(labDir(state.name)),
    SHUNT_LAB: state.name,
    SHUNT_LAB_NODE: place.name,
    // Undefined: not that of whoever runs this, which is for labs to come.
    SHUNT_LAB_DATAPLANE: state.dataplane,
  }
}

/** Starts a program that outlives this one; its output is appended to `log`. */
export const startInside = (
  state: LabState,
  place: PlacePlan,
  kind: LabProcess['kind'],
  argv: string[],
  log: string,
): LabProcess => {
  const [command, ...args] = insideCommand(state, place, argv)
  const out = openSync(log, 'a', 0o600)
  try {
    const child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', out, out],
      cwd: placeFiles(labDir(state.name), place.name).dir,
      env: insideEnv(state, place),
    })
    child.once('error', () => {}) // seen as a missing pid below
    child.unref()
    const id = child.pid === undefined ? null : identify(child.pid)
    if (id === null)
      throw new ShuntError('SHUNT_ERR_LAB', `${argv.join(' ')} could not be started in ${place.name}`)
    return { ...id, place: place.name, kind }
  } finally {
    closeSync(out)
  }
}

export const startAgent = (state: LabState, node: PlacePlan): LabProcess => {
  const files = placeFiles(labDir(state.name), node.name)
  return startInside(
    state,
    node,
    'agent',
    [...state.agentCommand!, 'agent', '--config', files.config],
    files.agentLog,
  )
}

/** In a managed lab the file has neither roles nor peers, services or secrets: what is set of them makes it static. */
export type Configure = (config: NodeConfigInput, node: PlacePlan) => void

export const writeConfig = (state: LabState, node: PlacePlan, config: NodeConfigInput): void =>
  writeFileSync(placeFiles(labDir(state.name), node.name).config, stringify(config), { mode: 0o600 })

/** Keys, the cluster's secret and the node file of every node. */
export const writeNodeFiles = async (state: LabState, configure?: Configure): Promise<void> => {
  const dir = labDir(state.name)
  const nodes = nodesOf(state.plan)
  createSecret(secretFile(dir))
  const ids = new Map<string, string>()
  for (const node of nodes) {
    const files = placeFiles(dir, node.name)
    mkdirSync(files.state, { recursive: true, mode: 0o700 })
    ids.set(node.name, await createIdentity(files.identity))
  }
  for (const node of nodes) {
    const config = nodeConfig(state.plan, node, dir, ids)
    configure?.(config, node)
    writeConfig(state, node, config)
  }
}

/** The end of a log, for messages. */
export const lastLines = (file: string, count = 12): string => {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n')
  } catch {
    return '(no output)'
  }
}
