import { randomBytes } from 'node:crypto'
import { openSync } from 'node:fs'
import { createNetns, deleteNetns, enterNetns, enterNetnsPath } from '../../src/os/netns.ts'

/** A network namespace of a test's own, with a unique name. */
export interface TestNetns {
  readonly name: string
  /** Runs a function with this thread inside; it must not await: the thread comes back when it returns. */
  run<T>(inside: () => T): T
}

const made: string[] = []
/** Keeps the way back: /proc/self is the main thread, which is the one that moves. */
const home = openSync('/proc/thread-self/ns/net', 'r')

/** Makes a namespace; `removeNetns` removes all that this process made. */
export const makeNetns = async (): Promise<TestNetns> => {
  const name = `sht-${process.pid}-${randomBytes(3).toString('hex')}`
  await createNetns(name)
  made.push(name)
  return { name, run: inside => inNetns(name, inside) }
}

/** Runs a function with this thread inside of a namespace by its name; it must not await. */
export const inNetns = <T>(name: string, inside: () => T): T => {
  enterNetns(name)
  try {
    return inside()
  } finally {
    enterNetnsPath(`/proc/self/fd/${home}`)
  }
}

export const removeNetns = async (): Promise<void> => {
  for (const name of made.splice(0)) await deleteNetns(name)
}
