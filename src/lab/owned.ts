/**
 * Labs that end with this process: those of tests, and one that is being built. However the process ends (a signal,
 * an uncaught error, its normal end), they are removed first. Only SIGKILL leaves them, for `shunt lab down`.
 */
import { errorText } from '../errors.ts'
import { endRunning } from './run.ts'
import { type LabState, loadState } from './state.ts'
import { removeLab } from './teardown.ts'

const owned = new Map<string, LabState>()
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

const removeAll = (): void => {
  endRunning()
  for (const state of owned.values()) {
    try {
      // It may have been removed by somebody else meanwhile, and its name used again.
      if (loadState(state.name)?.id === state.id) removeLab(state, 0)
    } catch (error) {
      process.stderr.write(`${errorText(error)}\n`)
    }
  }
  owned.clear()
}

const onSignal = (signal: NodeJS.Signals): void => {
  process.stderr.write(`${signal}: removing ${[...owned.keys()].map(name => `lab ${name}`).join(', ')}\n`)
  removeAll()
  process.exit(SIGNALS[signal as keyof typeof SIGNALS])
}

export const own = (state: LabState): void => {
  if (owned.size === 0) {
    process.on('exit', removeAll)
    for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal)
  }
  owned.set(state.name, state)
}

/** From now on the lab outlives this process. */
export const disown = (state: LabState): void => {
  if (!owned.delete(state.name) || owned.size > 0) return
  process.off('exit', removeAll)
  for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal)
}
