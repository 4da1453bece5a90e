/** What is kept of a lab while it is up: everything that is needed to remove it, also by another process. */
import { randomUUID } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { ShuntError } from '../errors.ts'
import { checkLabName, type LabDataplane } from './options.ts'
import type { ProcessId } from './processes.ts'
import type { LabPlan } from './topology.ts'

const BASE_DIR = '/run/shunt-lab'
const VERSION = 1

export interface LabProcess extends ProcessId {
  place: string
  kind: 'agent' | 'web'
}

/** A file that every host serves. */
export interface LabFile {
  /** `/10m` */
  path: string
  bytes: number
  sha256: string
}

export interface LabState {
  version: typeof VERSION
  /** Tells this lab from an earlier or later one of the same name. */
  id: string
  name: string
  createdAt: string
  /** The process with which the lab ends (a test); null: it stays until `shunt lab down`. */
  owner: ProcessId | null
  plan: LabPlan
  /** Directories of CPU cgroups, children before parents. */
  cgroups: string[]
  processes: LabProcess[]
  /** How an agent is started, without `agent --config FILE`; null: this lab has no agents. */
  agentCommand: string[] | null
  /** Of a bare lab: what nodes that are made in it get. */
  dataplane?: LabDataplane
  files: LabFile[]
}

export const labDir = (name: string): string => `${BASE_DIR}/${name}`

export const newState = (
  plan: LabPlan,
  owner: ProcessId | null,
  agentCommand: string[] | null,
): LabState => ({
  version: VERSION,
  id: randomUUID(),
  name: plan.name,
  createdAt: new Date().toISOString(),
  owner,
  plan,
  cgroups: [],
  processes: [],
  agentCommand,
  files: [],
})

/** Written whole or not at all: a reader, or a clean-up after a crash, never sees half a file. */
export const saveState = (state: LabState): void => {
  const dir = labDir(state.name)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  writeFileSync(`${dir}/lab.json.new`, JSON.stringify(state, null, 2))
  renameSync(`${dir}/lab.json.new`, `${dir}/lab.json`)
}

/** Whoever is not root is told so, instead of what the system says of a file. */
export const labRefusal = (error: unknown): unknown =>
  ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException | null)?.code ?? '')
    ? new ShuntError('SHUNT_ERR_LAB', 'labs are seen and changed by root only: run this as root (sudo)', {
        cause: error,
      })
    : error

/** null: there is no lab of that name. */
export const loadState = (name: string): LabState | null => {
  checkLabName(name)
  const file = `${labDir(name)}/lab.json`
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw labRefusal(error)
  }
  const state = JSON.parse(text) as LabState
  if (state.version !== VERSION)
    throw new ShuntError(
      'SHUNT_ERR_LAB',
      `${file} was written by another version of shunt; remove the lab with that one`,
    )
  return state
}

/** @throws ShuntError SHUNT_ERR_LAB when there is no lab of that name. */
export const needState = (name: string): LabState => {
  const state = loadState(name)
  if (state !== null) return state
  throw noLab(name)
}

export const noLab = (name: string): ShuntError => {
  const others = listLabs()
  const hint = others.length === 0 ? 'start one with: shunt lab up' : `running: ${others.join(', ')}`
  return new ShuntError('SHUNT_ERR_LAB', `there is no lab "${name}"; ${hint}`)
}

/** @throws ShuntError SHUNT_ERR_LAB for whoever is not root, once there has been a lab */
export const listLabs = (dir: string = BASE_DIR): string[] => {
  try {
    return readdirSync(dir)
      .filter(name => existsSync(`${dir}/${name}/lab.json`))
      .toSorted()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw labRefusal(error)
  }
}

export const removeState = (name: string): void => {
  rmSync(labDir(name), { recursive: true, force: true })
  try {
    rmdirSync(BASE_DIR)
  } catch {
    // Other labs are there, or it was never made.
  }
}
