/** wrk as the client: as many new connections as go, one request on each. */
import { ShuntError } from '../../src/errors.ts'
import type { Lab } from '../../src/lab/lab.ts'

export interface WrkResult {
  connections: number
  seconds: number
  failed: number
}

export const parseWrk = (text: string): WrkResult => {
  const total = /^\s*(\d+) requests in ([\d.]+)(m?s)/m.exec(text)
  if (total === null) throw new ShuntError('SHUNT_ERR_LAB', `wrk says nothing that can be read:\n${text}`)
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(text)
  const failed = [...(errors?.slice(1) ?? []), ...(refused?.slice(1) ?? [])].map(Number)
  return {
    connections: Number(total[1]),
    seconds: Number(total[2]) / (total[3] === 'ms' ? 1000 : 1),
    failed: failed.reduce((a, b) => a + b, 0),
  }
}

/** `parallel` connections at any time, for `seconds`. */
export const wrk = async (
  lab: Lab,
  client: string,
  url: string,
  parallel: number,
  seconds: number,
): Promise<WrkResult> => {
  const argv = ['wrk', '-t1', `-c${parallel}`, `-d${seconds}s`, '-H', 'Connection: close', url]
  const { code, stdout, stderr } = await lab.exec(client, argv)
  if (code !== 0) throw new ShuntError('SHUNT_ERR_LAB', `${argv.join(' ')} failed: ${stderr || stdout}`)
  return parseWrk(stdout)
}
