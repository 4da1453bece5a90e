/** Connections that a real client makes again and again while something else is done. */
import type { Lab } from '../../src/lab/lab.ts'
import { type Answer, parseAnswers } from './claims.ts'

/** Each on a connection of its own. */
export const connectMany = async (
  lab: Lab,
  vip: string,
  count: number,
  parallel: number,
): Promise<Answer[]> => {
  const { stdout } = await lab.exec(lab.client(), [
    ...[
      'curl',
      '-s',
      '-Z',
      '--parallel-max',
      String(parallel),
      '-H',
      'Connection: close',
      '--max-time',
      '20',
    ],
    ...['-o', '/dev/null', '-w', '%{http_code} %{num_connects} %header{x-host}\\n'],
    `http://${vip}/?n=[1-${count}]`,
  ])
  return parseAnswers(stdout)
}

export interface Loaded<T> {
  result: T
  /** Connections that were made meanwhile. */
  made: number
  failed: number
}

/** Connections go on, `count` after `count`, until `work` is done, whatever becomes of it. */
export const underLoad = async <T>(
  batch: () => Promise<Answer[]>,
  count: number,
  work: () => Promise<T>,
): Promise<Loaded<T>> => {
  let working = true
  let made = 0
  let failed = 0
  const load = (async () => {
    while (working) {
      const answers = await batch()
      made += count
      failed += count - answers.filter(({ status }) => status === 200).length
    }
  })()
  // A load that fails is told when the work is done, and is no error that nobody catches before.
  load.catch(() => {})
  try {
    const result = await work()
    working = false
    await load
    return { result, made, failed }
  } finally {
    working = false
    await load.catch(() => {})
  }
}
