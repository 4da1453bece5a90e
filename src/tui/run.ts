/** The shell of `shunt top`: terminal, socket, signals, and commands that are started from it. */
import { type Instance, render } from 'ink'
import { createElement } from 'react'
import { EXIT } from '../cli/exit-codes.ts'
import { App } from './app.ts'
import type { Effect, Settings, State, UiEvent } from './model.ts'
import { type Poll, startPoll } from './poll.ts'
import { flowsWanted } from './rows.ts'
import { runSelf } from './self.ts'
import { start, step } from './step.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Of a terminal that does not say its size. */
const ROWS = 24
const COLUMNS = 80

class Top {
  #state: State
  readonly #ended = new AbortController()
  readonly #poll: Poll
  readonly #ink: Instance
  code: number = EXIT.OK

  constructor(settings: Settings) {
    this.#state = start(settings, process.stdout.rows || ROWS, process.stdout.columns || COLUMNS)
    this.#ink = render(this.#element(), {
      alternateScreen: true,
      exitOnCtrlC: false,
      incrementalRendering: true,
      // Ink would take a build machine's variables for the absence of a terminal; the command has checked.
      interactive: true,
    })
    this.#poll = startPoll({
      socket: settings.socket,
      node: settings.node,
      intervalMs: settings.intervalMs,
      wants: () => ({
        flows: flowsWanted(this.#state),
        events: {
          instance: this.#state.snapshot?.status.instance ?? '',
          after: this.#state.snapshot?.lastEvent ?? 0,
        },
      }),
      isPaused: () => this.#state.paused,
      dispatch: event => this.#dispatch(event),
      signal: this.#ended.signal,
    })
  }

  #element(): ReturnType<typeof createElement> {
    return createElement(App, {
      state: this.#state,
      colour: !process.env.NO_COLOR,
      onKeys: keys => {
        for (const key of keys) if (!this.#ended.signal.aborted) this.#dispatch({ on: 'key', key })
      },
    })
  }

  #dispatch(event: UiEvent): void {
    const { state, effects } = step(this.#state, event)
    const changed = state !== this.#state
    this.#state = state
    for (const effect of effects) this.#perform(effect)
    if (changed && !this.#ended.signal.aborted) this.#ink.rerender(this.#element())
  }

  #perform(effect: Effect): void {
    switch (effect.do) {
      case 'quit':
        return this.#end(effect.code)
      case 'look':
        return this.#poll.now()
      case 'run':
        void runSelf(effect.args).then(result => this.#dispatch({ on: 'ended', result }))
    }
  }

  #end(code: number): void {
    if (this.#ended.signal.aborted) return
    this.code = code
    this.#ended.abort()
    // Gives the terminal back: cursor, modes, and the screen as it was.
    this.#ink.unmount()
  }

  /** Until the operator leaves, a signal comes or a defect shows. */
  async run(): Promise<void> {
    const onSignal = (): void => this.#end(EXIT.INTERRUPTED)
    const onResize = (): void =>
      this.#dispatch({
        on: 'size',
        rows: process.stdout.rows || ROWS,
        columns: process.stdout.columns || COLUMNS,
      })
    for (const signal of SIGNALS) process.on(signal, onSignal)
    process.stdout.on('resize', onResize)
    try {
      await Promise.race([this.#ink.waitUntilExit(), this.#poll.done.then(() => this.#ink.waitUntilExit())])
    } finally {
      process.stdout.off('resize', onResize)
      for (const signal of SIGNALS) process.off(signal, onSignal)
      this.#end(this.code)
    }
  }
}

/** @returns the exit code */
export const runTop = async (settings: Settings): Promise<number> => {
  const top = new Top(settings)
  await top.run()
  return top.code
}
