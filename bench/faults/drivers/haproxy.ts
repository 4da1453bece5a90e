/** HAProxy in TCP mode on both nodes, and keepalived. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { isAlive, processesInside } from '../../../src/lab/processes.ts'
import { missingRoot } from '../../../test/support/skip.ts'
import type { Driver } from '../contract.ts'
import { SERVICE_PORT } from '../lib/topology.ts'
import { Pair, type PairBalancer, VIP } from './pair.ts'

/** A connection costs it two descriptors, and a process has some ten thousand: more processes then share the port. */
const CONNECTIONS_A_PROCESS = 7_000
const processes = (pair: Pair): number => Math.ceil(pair.connections / CONNECTIONS_A_PROCESS)

const config = (pair: Pair, node: string, index: number): string => `
global
  nbthread 1
  maxconn ${CONNECTIONS_A_PROCESS + 1_500}
  stats socket ${socket(pair, node, index)} level admin expose-fd listeners
defaults
  mode tcp
  timeout connect 3s
  timeout client 1h
  timeout server 1h
  retries 3
  option redispatch
listen web
  bind ${VIP}:${SERVICE_PORT}
  balance roundrobin
  default-server check inter 500ms fall 2 rise 2
${pair.lab.hosts.map(({ name, address }) => `  server ${name} ${address}:${SERVICE_PORT}`).join('\n')}
`

const socket = (pair: Pair, node: string, index: number): string => `${pair.dir(node)}/ha${index}.sock`
const pidFile = (pair: Pair, node: string, index: number): string => `${pair.dir(node)}/ha${index}.pid`

/** One that is ending is still a process, but has left its namespace. */
const alive = (pair: Pair, node: string, index: number): boolean => {
  const file = pidFile(pair, node, index)
  if (!existsSync(file)) return false
  const pid = Number(readFileSync(file, 'utf8'))
  return processesInside([pair.lab.netns(node)]).some(p => p.pid === pid && isAlive(p))
}

const start = async (pair: Pair, node: string, index: number, more: readonly string[]): Promise<void> => {
  const file = `${pair.dir(node)}/haproxy${index}.cfg`
  writeFileSync(file, config(pair, node, index))
  const { code, stderr } = await pair.lab.exec(node, [
    ...['haproxy', '-D', '-f', file, '-p', pidFile(pair, node, index)],
    ...more,
  ])
  if (code !== 0) throw new Error(`haproxy does not start on ${node}: ${stderr}`)
}

/** What an operator writes into its socket. */
const order = (path: string, text: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const stream = connect(path, () => stream.end(`${text}\n`))
    stream.resume()
    stream.on('error', reject)
    stream.on('close', () => resolve())
  })

const HAPROXY_BALANCER: PairBalancer = {
  commands: ['haproxy'],
  check: (pair, node) =>
    Array.from(
      { length: processes(pair) },
      (_, index) => `kill -0 $(cat ${pidFile(pair, node, index)})`,
    ).join(' && '),
  async start(pair, node) {
    for (let index = 0; index < processes(pair); index++)
      if (!alive(pair, node, index)) await start(pair, node, index, [])
  },
  /** The new one takes the listening sockets over; the old one goes on with its connections until they end. */
  async upgrade(pair, node) {
    for (let index = 0; index < processes(pair); index++) {
      const old = readFileSync(pidFile(pair, node, index), 'utf8').trim()
      await start(pair, node, index, ['-x', socket(pair, node, index), '-sf', old])
    }
  },
  async shift(pair, isOut) {
    const host = pair.lab.hosts[1]!.name
    for (const node of ['f1', 'f2'])
      for (let index = 0; index < processes(pair); index++)
        await order(socket(pair, node, index), `set server web/${host} state ${isOut ? 'drain' : 'ready'}`)
  },
}

const missingCommand = (name: string, packageName: string): string | undefined =>
  spawnSync(name, ['-v']).error === undefined ? undefined : `needs the package ${packageName}`

export const missingPair = (): string | undefined =>
  missingRoot() ?? missingCommand('keepalived', 'keepalived')

export const HAPROXY: Driver = {
  name: 'haproxy',
  about: `two nodes with HAProxy in TCP mode (checks every 500 ms, two of them), keepalived moves the virtual IP (VRRP 3, advertisements every 100 ms,
no fail-back by itself, the end of HAProxy seen by a script every second); connections live in the processes, and cannot be handed on`,
  missing: () => missingPair() ?? missingCommand('haproxy', 'haproxy'),
  up: options => Pair.up(options, HAPROXY_BALANCER),
}
