/** How long a member waits for another agent's atom, by the links of a lab: each question after the answer to the one before. */
import { join } from 'node:path'
import { ShuntError } from '../../src/errors.ts'
import { Lab } from '../../src/lab/lab.ts'
import { benchName, builtBinary } from './setup.ts'

/** Milliseconds. */
export interface QueryTimes {
  p50: number
  p99: number
  longest: number
}

export const measureQueries = async (count: number): Promise<QueryTimes> => {
  const lab = await Lab.up({
    ...{ name: benchName(), combine: 'fc', forwarders: 2, hosts: 1, binary: builtBinary() },
  })
  try {
    lab.kill('f2', 'SIGKILL')
    const asker = join(import.meta.dirname, 'atom-asker.ts')
    const argv = [process.execPath, '--no-warnings', asker, lab.files('f2').config, 'f1', String(count)]
    const { code, stdout, stderr } = await lab.exec('f2', argv, { timeoutMs: 120_000 })
    if (code !== 0) throw new ShuntError('SHUNT_ERR_LAB', `the member that asks has failed: ${stderr}`)
    return JSON.parse(stdout) as QueryTimes
  } finally {
    await lab.down()
  }
}
