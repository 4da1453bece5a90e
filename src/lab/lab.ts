/** A whole cluster on this machine (R-G5), for the commands, the tests and the benchmarks. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { parse } from 'yaml'
import type { NodeConfigInput } from '../config/schema.ts'
import { get } from '../control/client.ts'
import type { StatusData } from '../control/types.ts'
import { ShuntError } from '../errors.ts'
import { routeVip } from './builder.ts'
import { cpuUsageUs } from './cgroup.ts'
import { lockLab } from './lock.ts'
import { type PlaceFiles, placeFiles } from './node-config.ts'
import { insideCommand, insideEnv, startAgent, writeConfig } from './nodes.ts'
import type { LabService } from './options.ts'
import { disown } from './owned.ts'
import {
  commandOf,
  endProcesses,
  isAlive,
  type ProcessId,
  processesInside,
  signalProcess,
} from './processes.ts'
import { mustRun, type RunOptions, type RunResult, run } from './run.ts'
import { startWeb } from './services.ts'
import {
  type LabFile,
  type LabProcess,
  type LabState,
  labDir,
  listLabs,
  loadState,
  needState,
  saveState,
} from './state.ts'
import { GRACE_MS, removeLab } from './teardown.ts'
import { hostsOf, nodesOf, type PlacePlan, placeOf, vipRoute } from './topology.ts'
import { buildLab, type LabOptions, READY_TIMEOUT_MS } from './up.ts'
import { waitForAll } from './wait.ts'

export type { LabOptions } from './up.ts'

export interface LinkCounters {
  rxBytes: number
  txBytes: number
  rxPackets: number
  txPackets: number
}

/** An agent's timeouts.drain is 10 s, unless its file says otherwise. */
const STOP_MS = 20_000

/** Methods that take the name of a place throw SHUNT_ERR_LAB when there is none of that name. */
export class Lab {
  readonly #state: LabState

  private constructor(state: LabState) {
    this.#state = state
  }

  /** Builds a lab and waits until it is ready; it ends with this process unless `keep` is set. */
  static async up(options: LabOptions = {}): Promise<Lab> {
    return new Lab(await buildLab(options))
  }

  /** A lab that is up. @throws ShuntError SHUNT_ERR_LAB when there is none of that name */
  static attach(name: string): Lab {
    return new Lab(needState(name))
  }

  /** Every lab that is up on this machine. */
  static all(): Lab[] {
    return listLabs().flatMap(name => {
      const state = loadState(name)
      return state === null ? [] : [new Lab(state)]
    })
  }

  /** @returns false when there was no such lab, which is success too */
  static async down(name: string, graceMs: number = GRACE_MS): Promise<boolean> {
    const unlock = await lockLab(name)
    try {
      const state = loadState(name)
      if (state === null) return false
      removeLab(state, graceMs)
      disown(state)
      return true
    } finally {
      unlock()
    }
  }

  get name(): string {
    return this.#state.name
  }
  /** Every namespace of the lab: nodes, clients, the router, the switch. */
  get places(): PlacePlan[] {
    return this.#state.plan.places
  }
  get nodes(): PlacePlan[] {
    return nodesOf(this.#state.plan)
  }
  get forwarders(): PlacePlan[] {
    return this.nodes.filter(n => n.roles.includes('forwarder'))
  }
  get hosts(): PlacePlan[] {
    return hostsOf(this.#state.plan)
  }
  /** What every host's web server has under known checksums. */
  get webFiles(): LabFile[] {
    return this.#state.files
  }
  get services(): LabService[] {
    return this.#state.plan.services
  }
  get createdAt(): string {
    return this.#state.createdAt
  }
  /** The process with which the lab ends; null: it stays until `shunt lab down`. */
  get owner(): ProcessId | null {
    return this.#state.owner
  }
  /** Whether a process that still runs will remove it. */
  get inUse(): boolean {
    return this.owner !== null && isAlive(this.owner)
  }
  get hasAgents(): boolean {
    return this.#state.agentCommand !== null
  }

  /** Name of the i-th client, counted from 1. */
  client(i = 1): string {
    return this.place(`client${i}`).name
  }
  place(name: string): PlacePlan {
    return placeOf(this.#state.plan, name)
  }
  netns(name: string): string {
    return this.place(name).netns
  }
  files(name: string): PlaceFiles {
    return placeFiles(labDir(this.name), this.place(name).name)
  }
  /** The control socket of a node's agent. */
  socket(name: string): string {
    return this.files(name).socket
  }
  /** The agent, or the web server of a place; null when none was started. */
  process(name: string, kind: LabProcess['kind'] = 'agent'): LabProcess | null {
    this.place(name)
    return this.#state.processes.find(p => p.place === name && p.kind === kind) ?? null
  }

  /** Runs a program in a place and waits for its end (60 s unless `timeoutMs` says otherwise). */
  exec(name: string, argv: string[], options: RunOptions = {}): Promise<RunResult> {
    const place = this.place(name)
    return run(insideCommand(this.#state, place, argv), { env: insideEnv(this.#state, place), ...options })
  }

  /** Runs a command of shunt in a node, such as `['flows', '--limit', '5']`, with the program that is its agent. */
  shunt(name: string, argv: string[], options: RunOptions = {}): Promise<RunResult> {
    return this.exec(name, [...this.#agentCommand(), ...argv], options)
  }

  /** Starts a program in a place; it ends with the lab at the latest. */
  spawn(name: string, argv: string[], stdio: 'pipe' | 'inherit' = 'pipe'): ChildProcess {
    const place = this.place(name)
    const [command, ...args] = insideCommand(this.#state, place, argv)
    return spawn(command, args, { stdio, env: insideEnv(this.#state, place) })
  }

  /** What went through a place's only link since the lab was built. */
  async linkCounters(name: string): Promise<LinkCounters> {
    const text = await mustRun(['ip', '-n', this.netns(name), '-s', '-j', 'link', 'show', 'eth0'])
    const [{ stats64 }] = JSON.parse(text) as [
      { stats64: Record<'rx' | 'tx', { bytes: number; packets: number }> },
    ]
    return {
      rxBytes: stats64.rx.bytes,
      txBytes: stats64.tx.bytes,
      rxPackets: stats64.rx.packets,
      txPackets: stats64.tx.packets,
    }
  }

  /** CPU time that everything in a place has used, microseconds; null where there are no cgroups. */
  cpuUsageUs(name: string): number | null {
    return cpuUsageUs(this.#state.cgroups, this.place(name).name)
  }

  /** What a node's agent answers, without the envelope. @param path such as `/v1/flows?limit=10` */
  async api<T>(name: string, path: string): Promise<T> {
    return (await get(this.socket(name), path)).data as T
  }

  /** State of a node's agent: as the agent says, or `none`, `stopped` or `unreachable`. */
  async agentState(name: string): Promise<StatusData['state'] | 'none' | 'stopped' | 'unreachable'> {
    const agent = this.process(name)
    if (agent === null) return 'none'
    if (!isAlive(agent)) return 'stopped'
    return this.api<StatusData>(name, '/v1/status').then(
      status => status.state,
      () => 'unreachable',
    )
  }

  /** Signals the agent (or the web server) of a node; false when it has ended already. */
  kill(name: string, signal: NodeJS.Signals, kind: LabProcess['kind'] = 'agent'): boolean {
    const p = this.process(name, kind)
    return p !== null && signalProcess(p, signal)
  }

  /** Kills a host's web server with all of its workers, at once. */
  killWeb(name: string): void {
    for (const p of processesInside([this.netns(name)]))
      if (commandOf(p.pid) === 'nginx') signalProcess(p, 'SIGKILL')
  }

  /** Starts a host's web server anew; resolves when it listens. */
  async startWeb(name: string): Promise<void> {
    // What a killed one leaves behind.
    for (const file of ['nginx.pid', 'store.sock']) rmSync(`${this.files(name).web}/${file}`, { force: true })
    const started = startWeb(this.#state, this.place(name))
    const isOld = (p: LabProcess): boolean => p.kind === 'web' && p.place === name
    this.#state.processes = [...this.#state.processes.filter(p => !isOld(p)), started]
    saveState(this.#state)
    await waitForAll(this.#state, [started], READY_TIMEOUT_MS)
  }

  /** Plugs a place's cable in or out: without it the node is dead to all others, with no goodbye. */
  async setLink(name: string, state: 'up' | 'down'): Promise<void> {
    const place = this.place(name)
    const bridge = this.place(place.kind === 'client' ? 'router' : 'switch')
    await mustRun(['ip', '-n', bridge.netns, 'link', 'set', `to-${place.name}`, state])
  }

  /**
   * Plugs cables of several places in or out, or none. @returns their names, each once
   * @throws ShuntError SHUNT_ERR_LAB for a place that has no cable to unplug
   */
  async setLinks(names: readonly string[], state: 'up' | 'down'): Promise<string[]> {
    const places = [...new Set(names)].map(name => this.place(name))
    for (const { name, kind } of places)
      if (kind !== 'node' && kind !== 'client')
        throw new ShuntError('SHUNT_ERR_LAB', `${name} is what the cables lead to: name nodes or clients`)
    for (const { name } of places) await this.setLink(name, state)
    return places.map(({ name }) => name)
  }

  /** Changes a node's file; its agent reads it at its next start. */
  configure(name: string, mutate: (config: NodeConfigInput) => void): void {
    const place = this.place(name)
    const config = parse(readFileSync(this.files(name).config, 'utf8')) as NodeConfigInput
    mutate(config)
    writeConfig(this.#state, place, config)
  }

  /** Ends a node's agent (asked first, `graceMs` later killed), starts it anew, and waits until it is ready. */
  async restartAgent(
    name: string,
    { graceMs = 5_000, readyTimeoutMs = READY_TIMEOUT_MS } = {},
  ): Promise<void> {
    const old = this.process(name)
    if (old !== null) endProcesses(() => [old], graceMs)
    await this.startAgent(name, readyTimeoutMs)
  }

  /**
   * Ends agents together, asked first unless `isKill`, and waits until they have ended; one that needs longer than STOP_MS is killed.
   * Throws SHUNT_ERR_LAB, before anything ends, for a name that is no node.
   */
  stopAgents(names: string[], isKill: boolean): { stopped: string[]; idle: string[] } {
    const agents = names.map(name => ({ name, agent: this.#nodeAgent(name) }))
    const runs = agents.filter(({ agent }) => agent !== null && isAlive(agent))
    const processes = runs.flatMap(({ agent }) => agent ?? [])
    endProcesses(() => processes, isKill ? 0 : STOP_MS)
    const stopped = runs.map(({ name }) => name)
    return { stopped, idle: names.filter(name => !stopped.includes(name)) }
  }

  #nodeAgent(name: string): LabProcess | null {
    if (this.place(name).kind === 'node') return this.process(name)
    throw new ShuntError('SHUNT_ERR_LAB', `${name} is no node: it has no agent`)
  }

  /** Starts a node's agent where none runs. */
  startAgent(name: string, readyTimeoutMs = READY_TIMEOUT_MS): Promise<void> {
    return this.startAgents([name], readyTimeoutMs)
  }

  /** Starts agents together, and waits until all of them are in touch with one another and with those that run. */
  async startAgents(names: string[], readyTimeoutMs = READY_TIMEOUT_MS): Promise<void> {
    this.#agentCommand()
    const runs = names.find(name => {
      const old = this.process(name)
      return old !== null && isAlive(old)
    })
    if (runs !== undefined) throw new ShuntError('SHUNT_ERR_LAB', `the agent of ${runs} runs already`)
    const started = names.map(name => startAgent(this.#state, this.place(name)))
    const ended = (p: LabProcess): boolean => p.kind === 'agent' && names.includes(p.place)
    this.#state.processes = [...this.#state.processes.filter(p => !ended(p)), ...started]
    saveState(this.#state)
    await waitForAll(this.#state, started, readyTimeoutMs)
  }

  #agentCommand(): string[] {
    const command = this.#state.agentCommand
    if (command !== null) return command
    throw new ShuntError('SHUNT_ERR_LAB', `lab ${this.name} was built without agents`)
  }

  /** Tells the router which forwarders (cluster addresses) a virtual IP has; none makes it unreachable. */
  setForwarders(vip: string, addresses: string[]): Promise<void> {
    return routeVip(this.#state.plan, vipRoute(vip, addresses))
  }

  async down(graceMs: number = GRACE_MS): Promise<void> {
    await Lab.down(this.name, graceMs)
  }
}
