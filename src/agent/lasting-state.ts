/** The state of this node that outlives its agent (R-G4): what an agent before left, and what this one leaves. */
import { existsSync } from 'node:fs'
import type { NodeConfig } from '../config/schema.ts'
import { errorText } from '../errors.ts'
import { findPinFolder, pinFolder } from '../os/bpf/bpffs.ts'
import { deleteTable } from '../os/nft.ts'
import { columnsFolder, removeColumns } from '../os/shared-columns.ts'
import type { Directory } from './dataplane/directory.ts'
import type { LastingPlan } from './dataplane/lasting-plan.ts'
import { tableName } from './dataplane/nft/ruleset.ts'
import { countLinks, removeEdge } from './dataplane/xdp/pins.ts'
import { prepareStateDir } from './kernel-state.ts'
import {
  type LeftBehind,
  leftBehind,
  leftDirectory,
  readLeft,
  removeLeft,
  sameNode,
  saveLeft,
  stateOwner,
} from './left-behind.ts'

export class LastingState {
  readonly #node: NodeConfig['node']
  readonly #owner: string
  readonly #left: LeftBehind | null
  /** What is there means what this configuration says. */
  readonly #goesOn: boolean
  #pins: string | null = null
  /** Why XDP's state ends with the agent. */
  notPinned: string | null = null

  /** Changes nothing. Throws SHUNT_ERR_DATAPLANE when what an agent before wrote down is damaged. */
  constructor(config: NodeConfig) {
    prepareStateDir(config.node.stateDir)
    this.#node = config.node
    this.#owner = stateOwner(config.node)
    this.#left = readLeft(config.node.stateDir)
    this.#goesOn = this.#left !== null && sameNode(this.#left, config)
  }

  /** An agent before left something at work. */
  get inherits(): boolean {
    return this.#left !== null
  }

  /** Whose indexes go on; undefined: there is none. */
  get directory(): Directory | undefined {
    return this.#left !== null && this.#goesOn ? leftDirectory(this.#left) : undefined
  }

  /** Of the programs that are at work. */
  get mark(): string | null {
    return this.#left?.mark ?? null
  }

  /** Right before the kernel is set up: what has no place in what comes is taken away. */
  begin(withXdp: boolean): void {
    if (withXdp) {
      try {
        this.#pins = pinFolder(this.#owner)
      } catch (error) {
        this.notPinned = errorText(error)
      }
      return
    }
    const left = findPinFolder(this.#owner)
    if (left !== null) removeEdge(left)
  }

  /** After the kernel was set up: of an agent of another name nothing stays. */
  async renamed(): Promise<void> {
    const before = this.#left?.node ?? this.#node.name
    if (before === this.#node.name) return
    for (const family of ['netdev', 'inet'] as const) await deleteTable(family, tableName(before))
  }

  get plan(): LastingPlan {
    return { columns: columnsFolder(this.#owner), pins: this.#pins, adopt: this.#goesOn }
  }

  save(config: NodeConfig, directory: Directory, mark: string | null): void {
    saveLeft(this.#node.stateDir, leftBehind(config, directory, mark))
  }

  /** Nothing of it is left. */
  remove(): void {
    removeLasting(this.#node)
  }
}

export interface Removed {
  /** Programs taken off interfaces. */
  readonly links: number
  readonly maps: number
  /** Flows and mappings were there for the next agent. */
  readonly tables: boolean
}

/** Removes all that the agents of a node left for the next one, but for rules, addresses and settings. Answers what there was. */
export const removeLasting = (node: Pick<NodeConfig['node'], 'name' | 'stateDir'>): Removed => {
  if (!existsSync(node.stateDir)) return { links: 0, maps: 0, tables: false }
  const owner = stateOwner(node)
  const pins = findPinFolder(owner)
  const edge = pins === null ? { links: 0, maps: 0 } : removeEdge(pins)
  const tables = removeColumns(columnsFolder(owner))
  removeLeft(node.stateDir)
  return { ...edge, tables }
}

/** Whether XDP programs of an agent of this node are at work, whoever runs. */
export const hasPinnedLinks = (node: Pick<NodeConfig['node'], 'name' | 'stateDir'>): boolean => {
  const pins = findPinFolder(stateOwner(node))
  return pins !== null && countLinks(pins) > 0
}
