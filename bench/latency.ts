/** Row 4: how long a client waits for the first byte on a new connection. */
import { ShuntError } from '../src/errors.ts'
import type { Lab } from '../src/lab/lab.ts'
import { type Target, targetAddress } from './connections.ts'

/** Microseconds from before the connect to the first byte of the answer, one connection after another. */
const one = async (lab: Lab, client: string, target: Target, count: number): Promise<number[]> => {
  const url = `http://${targetAddress(lab, target)}/?n=[1-${count}]`
  const argv = [
    'curl',
    '-sS',
    '-H',
    'Connection: close',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code} %{time_starttransfer}\\n',
  ]
  const { code, stdout, stderr } = await lab.exec(client, [...argv, url])
  const lines = stdout.trim().split('\n')
  if (code !== 0 || lines.length !== count || lines.some(line => !line.startsWith('200 ')))
    throw new ShuntError('SHUNT_ERR_LAB', `connections through ${target} failed: ${stderr.slice(0, 300)}`)
  return lines.map(line => Number(line.split(' ')[1]) * 1e6)
}

/** All targets in turn, `rounds` times, on the lab's last client. */
export const measureLatency = async (
  lab: Lab,
  rounds: number,
  count: number,
  targets: readonly Target[],
): Promise<Map<Target, number[]>> => {
  const client = lab.places.findLast(place => place.kind === 'client')!.name
  const all = new Map<Target, number[]>(targets.map(target => [target, []]))
  for (let round = 0; round < rounds; round++)
    for (const target of targets) all.get(target)!.push(...(await one(lab, client, target, count)))
  return all
}
