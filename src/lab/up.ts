/** Builds a lab, whole or not at all. */
import { mkdirSync } from 'node:fs'
import { count } from '../cli/format.ts'
import { errorText, ShuntError } from '../errors.ts'
import { pinRoot } from '../os/bpf/bpffs.ts'
import { buildNetwork, checkNamesFree } from './builder.ts'
import { cgroupDirs, createCgroups } from './cgroup.ts'
import { lockLab } from './lock.ts'
import { writeManagedFiles } from './managed.ts'
import { placeFiles } from './node-config.ts'
import { agentCommand, type Configure, startAgent, writeNodeFiles } from './nodes.ts'
import { DATAPLANES, DEFAULT_OPTIONS, type LabDataplane, type Mode, type TopologyOptions } from './options.ts'
import { disown, own } from './owned.ts'
import { identify } from './processes.ts'
import { startWeb, writeFiles } from './services.ts'
import { type LabState, labDir, loadState, newState, saveState } from './state.ts'
import { removeLab } from './teardown.ts'
import { hostsOf, nodesOf, type PlacePlan, planLab } from './topology.ts'
import { waitForAll } from './wait.ts'

export interface LabOptions extends Partial<TopologyOptions> {
  /** Default static. */
  mode?: Mode
  /** Default true; false leaves the nodes without agents (their node files are there all the same). */
  agents?: boolean
  /** An executable to run as agent; default: this one, or the sources. */
  binary?: string
  /** Default false: the lab ends with this process. */
  keep?: boolean
  /** Default 15,000 ms for all agents together. */
  readyTimeoutMs?: number
  /** Of all nodes, or of each; default: that of SHUNT_LAB_DATAPLANE, else `auto`. */
  dataplane?: LabDataplane | ((node: PlacePlan) => LabDataplane)
  /** Changes a node's file before its agent starts. */
  configure?: Configure
  /** Told what is being done. */
  onProgress?: (text: string) => void
}

/** Far longer than it takes: on a machine that is busy with something else it only takes longer. */
export const READY_TIMEOUT_MS = 60_000

const build = async (state: LabState, options: LabOptions): Promise<void> => {
  const say = options.onProgress ?? (() => {})
  const { plan } = state
  say(`network: ${plan.places.length} namespaces`)
  const noCgroups = createCgroups(state.cgroups)
  if (noCgroups !== null) {
    state.cgroups = []
    say(noCgroups)
  }
  await buildNetwork(plan)
  for (const place of plan.places)
    mkdirSync(placeFiles(labDir(plan.name), place.name).dir, { recursive: true })
  const mode = options.mode ?? 'static'
  const configure = configured(options)
  if (mode === 'static') await writeNodeFiles(state, configure)
  // A managed node's file is the same but for what it leaves out.
  if (mode === 'managed') await writeManagedFiles(state, configure as Parameters<typeof writeManagedFiles>[1])
  state.files = writeFiles(state)
  say(`applications: nginx on ${count(hostsOf(plan).length, 'host')}`)
  for (const host of hostsOf(plan)) state.processes.push(startWeb(state, host))
  if (state.agentCommand !== null) preparePins(say)
  if (state.agentCommand !== null && mode !== 'bare') {
    say(`agents: ${nodesOf(plan).length}, waiting until all are in touch`)
    for (const node of nodesOf(plan)) state.processes.push(startAgent(state, node))
  }
  saveState(state)
  await waitForAll(state, state.processes, options.readyTimeoutMs ?? READY_TIMEOUT_MS)
}

/** Agents are started in mount namespaces of their own (`ip netns exec`): what they mount there ends with them. */
const preparePins = (say: (text: string) => void): void => {
  try {
    pinRoot()
  } catch (error) {
    say(`XDP's state will end with each agent: ${errorText(error)}`)
  }
}

const wantedDataplane = ({
  dataplane = dataplaneOf(process.env.SHUNT_LAB_DATAPLANE),
}: LabOptions): LabOptions['dataplane'] => dataplane

const configured =
  (options: LabOptions): Configure =>
  (config, node) => {
    const { configure } = options
    const dataplane = wantedDataplane(options)
    const wanted = typeof dataplane === 'function' ? dataplane(node) : dataplane
    if (wanted !== undefined) config.dataplane = wanted
    configure?.(config, node)
  }

const dataplaneOf = (text: string | undefined): LabDataplane | undefined =>
  DATAPLANES.find(name => name === text)

/**
 * @throws ShuntError SHUNT_ERR_LAB when it cannot be built; then nothing of it is left. A signal in the middle
 * removes everything too, and ends the process.
 */
export const buildLab = async (options: LabOptions): Promise<LabState> => {
  if (process.getuid?.() !== 0) throw new ShuntError('SHUNT_ERR_CAPABILITY', 'a lab needs root; use sudo')
  const plan = planLab({ ...DEFAULT_OPTIONS, ...definedOnly(options) })
  const self = identify(process.pid)
  const command = options.agents === false ? null : agentCommand(options.binary)
  const unlock = await lockLab(plan.name)
  try {
    if (loadState(plan.name) !== null)
      throw new ShuntError(
        'SHUNT_ERR_LAB',
        `lab ${plan.name} is up already; remove it with: shunt lab down --name ${plan.name}, or choose another --name`,
      )
    checkNamesFree(plan)
    const state = newState(plan, self, command)
    const dataplane = wantedDataplane(options)
    if (options.mode === 'bare' && typeof dataplane === 'string') state.dataplane = dataplane
    state.cgroups = cgroupDirs(
      plan.name,
      plan.places.map(p => p.name),
    )
    own(state)
    try {
      // First of all: from here on anybody can remove what is there.
      saveState(state)
      await build(state, options)
      if (options.keep) {
        state.owner = null
        saveState(state)
        disown(state)
      }
      return state
    } catch (error) {
      removeLab(state, 0)
      disown(state)
      throw error
    }
  } finally {
    unlock()
  }
}

/** Options that are there but undefined mean the default. */
const definedOnly = <T extends object>(options: T): T =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
