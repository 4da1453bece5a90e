/** A command that shows something of a running agent: once, or again and again with --watch. */
import { type Command, Flags } from '@oclif/core'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'
import type { Envelope } from '../control/types.ts'
import { ShuntError } from '../errors.ts'
import { BaseCommand } from './base-command.ts'
import { EXIT } from './exit-codes.ts'
import { json, note, print, warn } from './output.ts'
import { pathAt } from './path-at.ts'
import { redraw } from './redraw.ts'
import { watchUntilStopped } from './watching.ts'

export const nounFlags = {
  socket: Flags.string({
    description: "The agent's control socket.",
    env: 'SHUNT_SOCKET',
    default: DEFAULT_CONTROL_SOCKET,
    helpValue: 'PATH',
  }),
  node: Flags.string({
    description: 'Ask the agent of this node, through the one here.',
    helpValue: 'NAME',
  }),
  watch: Flags.boolean({
    char: 'w',
    description: 'Show it again and again; Ctrl-C stops watching. With --json, an envelope a line.',
  }),
  interval: Flags.integer({
    description: 'Milliseconds between two looks with --watch.',
    default: 1000,
    min: 100,
    max: 3_600_000,
    helpValue: 'MS',
  }),
}

export interface NounFlags {
  json: boolean
  socket: string
  /** Another node, which is asked through the agent of the socket. */
  node?: string
  watch: boolean
  interval: number
}

/** No agent answers: the one here, or that of another node, for which it is asked. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof ShuntError && ['SHUNT_ERR_CONTROL_UNREACHABLE', 'SHUNT_ERR_PEER'].includes(error.code)

export abstract class NounCommand<T, F extends NounFlags = NounFlags> extends BaseCommand {
  static override flags = nounFlags

  /** Path of the control API, with the query. */
  protected abstract path(flags: F): string
  protected abstract render(data: T, flags: F): string
  /** What is not well, if anything: a warning each, and exit code 3. */
  protected troubles(_data: T): string[] {
    return []
  }

  /** What a reader of the text should know beside it. */
  protected remark(_data: T): string | undefined {
    return undefined
  }

  /** As `remark`, of what else has to be asked for: `ask` is for another path at the same agent. */
  protected async lookElsewhere(_ask: (path: string) => Promise<unknown>): Promise<string | undefined> {
    return undefined
  }

  /** Why the node that was asked has nothing to show: told in place of the text, with exit code 3. */
  protected async nothing(
    _data: T,
    _flags: F,
    _ask: (path: string) => Promise<unknown>,
  ): Promise<string | undefined> {
    return undefined
  }

  /** What is as it is meant to be, but not as one expects: warnings that leave the exit code as it is. */
  protected warnings(_data: T): string[] {
    return []
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(this.ctor as typeof Command)
    const given = flags as unknown as F
    if (given.watch) await this.#watch(given)
    else await this.#show(await this.#ask(given), given)
  }

  async #ask(flags: F, signal?: AbortSignal): Promise<Envelope<T>> {
    return (await this.#get(this.path(flags), flags, signal)) as Envelope<T>
  }

  async #get(path: string, { socket, node }: F, signal?: AbortSignal): Promise<Envelope> {
    const { get } = await import('../control/client.ts')
    return get(socket, pathAt(path, node), signal)
  }

  async #show(envelope: Envelope<T>, flags: F): Promise<void> {
    const ask = async (path: string): Promise<unknown> => (await this.#get(path, flags)).data
    const nothing = await this.nothing(envelope.data, flags, ask)
    if (nothing !== undefined) {
      if (flags.json) print(json(envelope, true))
      warn(nothing)
      process.exitCode = EXIT.DEGRADED
      return
    }
    print(flags.json ? json(envelope, true) : this.render(envelope.data, flags))
    const remark = flags.json ? undefined : this.remark(envelope.data)
    if (remark !== undefined) note(remark)
    if (!flags.json) {
      const elsewhere = await this.lookElsewhere(ask)
      if (elsewhere !== undefined) note(elsewhere)
      for (const warning of this.warnings(envelope.data)) warn(warning)
    }
    const troubles = this.troubles(envelope.data)
    for (const trouble of troubles) warn(trouble)
    if (troubles.length > 0) process.exitCode = EXIT.DEGRADED
  }

  #redraw(envelope: Envelope<T>, flags: F, first: boolean): void {
    if (flags.json) {
      print(json(envelope, false))
      return
    }
    const head = `${envelope.node} at ${envelope.time}, every ${flags.interval} ms; Ctrl-C stops watching`
    redraw(head, this.render(envelope.data, flags), first)
  }

  /** An agent that is not there at first is an error; one that goes away later may come back. */
  async #watch(flags: F): Promise<void> {
    let first = true
    await watchUntilStopped({
      everyMs: flags.interval,
      look: async (signal, heard) => {
        this.#redraw(await this.#ask(flags, signal), flags, first)
        heard()
        first = false
      },
      mayReturn: error => !first && isUnreachable(error),
    })
  }
}
