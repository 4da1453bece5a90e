/**
 * What can be changed from a screen. Each action is a command line that the operator could type, shown before it runs:
 * the signing, the checks and the guards are those of the command.
 */
import type { CommandResult, ScreenId, Snapshot } from './model.ts'

export interface Toggle {
  id: string
  was: boolean
  on: boolean
  /** What is to be known of it beside. */
  remark?: string
}

export interface Action {
  id: string
  /** Key that starts it on its screen. */
  key: string
  screens: readonly ScreenId[]
  /** What its rows are, for a refusal. */
  of: string
  help: string
  title(row: string): string
  /** Why it cannot be done, or `null`. */
  refusal(row: string, snapshot: Snapshot): string | null
  /** What the form asks; none: it goes on to the confirmation. */
  toggles(row: string, snapshot: Snapshot): Toggle[]
  /** Arguments of `shunt`; `null` when nothing was changed. */
  args(row: string, toggles: readonly Toggle[]): string[] | null
}

export type ActionOverlay =
  | { kind: 'form'; action: string; row: string; toggles: readonly Toggle[]; at: number }
  | { kind: 'confirm'; title: string; args: readonly string[] }
  | { kind: 'running'; args: readonly string[] }
  | { kind: 'result'; args: readonly string[]; result: CommandResult }

const ROLES = ['classifier', 'forwarder', 'host']

const roles: Action = {
  id: 'roles',
  key: 'r',
  screens: ['nodes'],
  of: 'node',
  help: 'set the roles of the node',
  title: row => `roles of ${row}`,
  refusal: (row, { nodes }) =>
    nodes.mode === 'static'
      ? "this cluster is static: roles stand in each node's file"
      : nodes.nodes.some(node => node.name === row)
        ? null
        : `${row} is no node any more`,
  toggles: (row, { nodes }) => {
    const node = nodes.nodes.find(each => each.name === row)
    const has = node?.roles ?? []
    const drains = (id: string): boolean => node?.retiring?.includes(id) === true
    return ROLES.map(id => ({
      ...{ id, was: has.includes(id), on: has.includes(id) },
      ...(drains(id) ? { remark: 'drains' } : {}),
    }))
  },
  args: (row, toggles) => {
    const changes = toggles.filter(toggle => toggle.on !== toggle.was)
    if (changes.length === 0) return null
    return ['roles', row, ...changes.map(toggle => `${toggle.on ? '+' : '-'}${toggle.id}`)]
  },
}

/** A drain that takes longer goes on without the command. */
const TIMEOUT = ['--timeout', '10s']

/**
 * Whether there is an order about just that: all of a host, or with HOST/SERVICE its one application. An agent of an earlier version
 * tells no directives.
 */
const isOrdered = (row: string, { nodes }: Snapshot): boolean => {
  const [host, app = '*'] = row.split('/')
  return nodes.nodes.some(
    node =>
      node.name === host && node.directives?.some(order => order.app === app && order.state !== 'active'),
  )
}

const ofHost = (row: string, snapshot: Snapshot): string =>
  row.includes('/') && isOrdered(row.split('/')[0]!, snapshot)
    ? `; ${row.split('/')[0]} as a whole is drained: u on the screen of hosts ends that`
    : ''

const isStatic = ({ nodes }: Snapshot): string | null =>
  nodes.mode === 'static' ? 'this cluster is static: nothing in it is changed by commands' : null

const drain: Action = {
  id: 'drain',
  key: 'd',
  screens: ['hosts', 'health'],
  of: 'host or of one of its applications',
  help: 'drain: no new connections',
  title: row => `drain ${row}: no new connections, those that it has go on`,
  refusal: (row, snapshot) =>
    isStatic(snapshot) ?? (isOrdered(row, snapshot) ? `${row} is drained already; u undrains it` : null),
  toggles: () => [],
  args: row => ['drain', row, ...TIMEOUT],
}

const undrain: Action = {
  id: 'undrain',
  key: 'u',
  screens: ['hosts', 'health'],
  of: 'host or of one of its applications',
  help: 'undrain',
  title: row => `undrain ${row}: it takes new connections again`,
  refusal: (row, snapshot) =>
    isStatic(snapshot) ??
    (isOrdered(row, snapshot) ? null : `no order drains ${row}${ofHost(row, snapshot) || '; d drains it'}`),
  toggles: () => [],
  args: row => ['undrain', row, ...TIMEOUT],
}

export const ACTIONS: readonly Action[] = [roles, drain, undrain]

/** A row whose name could be taken for an option never becomes an argument. */
export const isName = (row: string): boolean =>
  /^[a-z0-9][a-z0-9-]{0,62}(\/[a-z0-9][a-z0-9-]{0,62})?$/.test(row)
