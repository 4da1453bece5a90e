/** What can happen to an agent of shunt, and to the machine under it. */
import type { StatusData } from '../../../src/control/types.ts'
import { isAlive } from '../../../src/lab/processes.ts'
import type { Fault } from '../contract.ts'
import type { ShuntStage } from './shunt-stage.ts'

const END_MS = 15_000

const ended = async (stage: ShuntStage, node: string): Promise<void> => {
  const endAt = performance.now() + END_MS
  while (isAlive(stage.lab.process(node)!)) {
    if (performance.now() > endAt) throw new Error(`the agent of ${node} does not end`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** Who is struck: one and the same, or who holds the virtual IP by then. */
export type Target = () => string
type Acts = Pick<Fault, 'strike' | 'heal' | 'atOnce'>
const nothing = async (): Promise<void> => {}

export const killed = (stage: ShuntStage, target: Target): Acts => ({
  strike: async () => void stage.lab.kill(target(), 'SIGKILL'),
  heal: async () => {
    await ended(stage, target())
    await stage.lab.startAgent(target())
  },
})

export const frozen = (stage: ShuntStage, target: Target): Acts => ({
  strike: async () => void stage.lab.kill(target(), 'SIGSTOP'),
  heal: async () => void stage.lab.kill(target(), 'SIGCONT'),
})

const replaced = (stage: ShuntStage, target: Target, signal: 'SIGKILL' | 'SIGUSR2'): Acts => ({
  atOnce: true,
  strike: async () => {
    stage.lab.kill(target(), signal)
    await ended(stage, target())
    await stage.lab.startAgent(target())
  },
  heal: nothing,
})
export const restarted = (stage: ShuntStage, target: Target): Acts => replaced(stage, target, 'SIGKILL')
export const upgraded = (stage: ShuntStage, target: Target): Acts => replaced(stage, target, 'SIGUSR2')

/** As an operator takes a machine out: what comes to it goes elsewhere first. */
export const left = (stage: ShuntStage, target: Target): Acts => ({
  strike: async () => {
    await stage.withdraw(target())
    stage.lab.kill(target(), 'SIGTERM')
    await ended(stage, target())
  },
  heal: async () => {
    await stage.lab.startAgent(target())
    await stage.announce(target())
  },
})

export const cutOff = (stage: ShuntStage, target: Target): Acts => ({
  strike: () => stage.lab.setLink(target(), 'down'),
  heal: () => stage.lab.setLink(target(), 'up'),
})

/** Power lost: what the agent left in kernel and memory goes too, as with the machine. It is in the router again when its agent is there. */
export const dead = (stage: ShuntStage, target: Target): Acts => ({
  strike: async () => {
    const { lab, applications } = stage
    const node = target()
    await lab.setLink(node, 'down')
    lab.kill(node, 'SIGKILL')
    applications.kill(node)
    await ended(stage, node)
    const flushed = await lab.shunt(node, ['agent', '--flush', '--config', lab.files(node).config])
    if (flushed.code !== 0) throw new Error(`the state of ${node} is not gone: ${flushed.stderr}`)
    await stage.withdraw(node)
  },
  heal: async () => {
    const { lab, applications } = stage
    const node = target()
    await lab.setLink(node, 'up')
    if (lab.place(node).roles.includes('host')) await applications.start(node)
    await lab.startAgent(node)
    await stage.announce(node)
  },
})

/** What a node still lacks until all is as it was; null: nothing. */
export const lacks = (status: StatusData): string | null => {
  const missing = status.peers.filter(({ state }) => state !== 'alive').map(({ name }) => name)
  if (status.state !== 'running') return status.state
  return missing.length === 0 ? null : `does not hear ${missing.join(', ')}`
}
