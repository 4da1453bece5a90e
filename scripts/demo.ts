/**
 * The demo: starts a cluster in network namespaces, lets a real client use it, checks what it claims, and removes it,
 * also after Ctrl-C or a failure. Exit code 1 if any claim is false.
 *   scripts/demo.ts [EXECUTABLE]     default: dist/shunt if it was built, else the sources
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { table } from '../src/cli/table.ts'
import { errorText } from '../src/errors.ts'
import { Lab, type LinkCounters } from '../src/lab/lab.ts'
import type { PlacePlan } from '../src/lab/topology.ts'
import {
  type Answer,
  allAnswered,
  bypassed,
  type Claim,
  drainedGotNone,
  everyForwarderWorked,
  followsCapacities,
  intact,
  noneFailed,
  ownConnections,
  parseLog,
  type Share,
  sharesOf,
  trueClient,
  undrainedGotSome,
} from './demo/claims.ts'
import { connectMany, underLoad } from './demo/load.ts'

const CONNECTIONS = 2_500
const DOWNLOADS = 6
/** Connections that are made again and again while the cluster is changed under them, and beside a drain. */
const STEERED = 400
/** Has a share of three tenths. */
const DRAINED = 'h2'
/** Shares of 2,500 random choices lie within a point or two. */
const TOLERANCE = 0.05
const BUILT = join(import.meta.dirname, '..', 'dist', 'shunt')

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
const seconds = (sinceMs: number): string => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`

const PICTURE = `
shunt: a cluster on this machine, each node in a network namespace of its own

                       ┌─ f1 f2     forwarders rewrite packets in the kernel
  client1 ── router ───┼─ c1        the classifier chooses a host, once a connection
                  ▲    └─ h1 h2 h3  hosts (nginx) ─┐
                  └──── answers go straight back ──┘
`

const counters = async (lab: Lab, places: PlacePlan[]): Promise<Map<string, LinkCounters>> =>
  new Map(await Promise.all(places.map(async p => [p.name, await lab.linkCounters(p.name)] as const)))

/** Runs something and tells what every node's link carried meanwhile. */
const during = async <T>(
  lab: Lab,
  work: () => Promise<T>,
): Promise<{ result: T; moved: (name: string) => LinkCounters }> => {
  const before = await counters(lab, lab.nodes)
  const result = await work()
  const after = await counters(lab, lab.nodes)
  const moved = (name: string): LinkCounters => {
    const [a, b] = [before.get(name)!, after.get(name)!]
    return {
      rxBytes: b.rxBytes - a.rxBytes,
      txBytes: b.txBytes - a.txBytes,
      rxPackets: b.rxPackets - a.rxPackets,
      txPackets: b.txPackets - a.txPackets,
    }
  }
  return { result, moved }
}

const connect = async (lab: Lab, vip: string): Promise<{ claims: Claim[]; shares: Share[] }> => {
  const { result, moved } = await during(lab, () => connectMany(lab, vip, CONNECTIONS, 50))
  const answers = result
  const log = lab.hosts.flatMap(host =>
    parseLog(host.name, readFileSync(lab.files(host.name).webLog, 'utf8')),
  )
  const shares = sharesOf(answers, new Map(lab.hosts.map(h => [h.name, h.capacity!])))
  const claims = [
    allAnswered(answers, CONNECTIONS),
    ownConnections(answers, log),
    followsCapacities(shares, TOLERANCE),
    trueClient(log, lab.place(lab.client()).address!, vip),
    everyForwarderWorked(new Map(lab.forwarders.map(f => [f.name, moved(f.name).rxPackets])), CONNECTIONS),
  ]
  return { claims, shares }
}

const download = async (lab: Lab, vip: string): Promise<Claim[]> => {
  const file = lab.webFiles.find(f => f.path === '/10m')!
  const fetch = `for n in $(seq ${DOWNLOADS}); do curl -s --max-time 30 http://${vip}${file.path} | sha256sum; done`
  const { result, moved } = await during(lab, () => lab.exec(lab.client(), ['sh', '-c', fetch]))
  const sums = result.stdout
    .trim()
    .split('\n')
    .map(line => line.split(' ')[0])
  const sum = (places: PlacePlan[], bytes: (c: LinkCounters) => number): number =>
    places.reduce((total, p) => total + bytes(moved(p.name)), 0)
  return [
    intact(sums, file.sha256, file.bytes),
    bypassed(
      DOWNLOADS * file.bytes,
      sum(lab.hosts, c => c.txBytes),
      sum(lab.forwarders, c => c.rxBytes + c.txBytes),
    ),
  ]
}

const steered = (lab: Lab, vip: string): Promise<Answer[]> => connectMany(lab, vip, STEERED, 20)

/** Drains a host and lets it take connections again, while others are made: none may fail, and what is made after the drain goes elsewhere. */
const drain = async (lab: Lab, vip: string): Promise<Claim[]> => {
  const order = async (
    argv: string[],
    judge: (host: string, answers: Answer[], asked: number) => Claim,
  ): Promise<Claim[]> => {
    const startMs = performance.now()
    const { code, stdout, stderr } = await lab.shunt('f1', argv)
    say(`f1$ shunt ${argv.join(' ')}\n${(stdout + stderr).trimEnd()}`)
    const took = seconds(startMs)
    const claim = judge(DRAINED, await steered(lab, vip), STEERED)
    say(`(took ${took}; ${claim.text})`)
    return [{ ok: code === 0, text: `shunt ${argv.join(' ')}` }, claim]
  }
  const { result, made, failed } = await underLoad(
    () => steered(lab, vip),
    STEERED,
    async () => [
      ...(await order(['drain', DRAINED, '--yes'], drainedGotNone)),
      ...(await order(['undrain', DRAINED], undrainedGotSome)),
    ],
  )
  return [...result, noneFailed('during the drain and the undrain', made, failed)]
}

/** Changes of every kind while connections are made: none of those may fail. */
const steer = async (lab: Lab, vip: string): Promise<Claim[]> => {
  const file = join(lab.files('f1').dir, 'services.yaml')
  const { text } = await lab.api<{ text: string }>('f1', '/v1/config')
  writeFileSync(file, text.replace(/capacity: 60/, 'capacity: 20'))
  const orders: [string, string[]][] = [
    ['h2', ['apply', '-f', file, '--note', 'h1 takes less', '--yes']],
    ['f2', ['roles', 'f1', '+classifier', '--yes']],
    ['c1', ['keys', 'rotate', '--yes']],
    ['h3', ['leave', '--yes']],
  ]
  const { result, made, failed } = await underLoad(
    () => steered(lab, vip),
    STEERED,
    async () => {
      const claims: Claim[] = []
      for (const [node, order] of orders) {
        const { code, stdout, stderr } = await lab.shunt(node, order)
        const shown = order.map(word => (word === file ? 'services.yaml' : word)).join(' ')
        say(`${node}$ shunt ${shown}\n${(stdout + stderr).trimEnd()}`)
        claims.push({ ok: code === 0, text: `shunt ${shown}` })
      }
      return claims
    },
  )
  return [...result, noneFailed('while all of that was done', made, failed)]
}

const showShares = (shares: Share[]): string =>
  table(
    [
      { head: 'HOST', cell: s => s.host },
      { head: 'CAPACITY', cell: s => s.capacity, right: true },
      { head: 'WANTED', cell: s => `${(s.wanted * 100).toFixed(1)} %`, right: true },
      { head: 'GOT', cell: s => `${(s.got * 100).toFixed(1)} %`, right: true },
      { head: 'CONNECTIONS', cell: s => s.connections, right: true },
    ],
    shares,
  )

/** A command of shunt, as an operator on that node sees it: its first lines. */
const show = async (lab: Lab, node: string, argv: string[], lines: number): Promise<Claim> => {
  const { code, stdout, stderr } = await lab.shunt(node, argv)
  say(`\n${node}$ shunt ${argv.join(' ')}`)
  say((code === 0 ? stdout : stdout + stderr).trimEnd().split('\n').slice(0, lines).join('\n'))
  return { ok: code === 0 && stdout !== '', text: `shunt ${argv.join(' ')} answers on ${node}` }
}

const demo = async (): Promise<boolean> => {
  say(PICTURE)
  const startMs = performance.now()
  const binary = process.argv[2] ?? (existsSync(BUILT) ? BUILT : undefined)
  const name = `demo-${process.pid}`
  const lab = await Lab.up({
    name,
    mode: 'managed',
    capacities: [60, 30, 10],
    ...(binary !== undefined && { binary }),
  })
  try {
    say(`started ${lab.nodes.length} agents, all in touch, in ${seconds(startMs)}`)
    const { vip } = lab.services[0]
    const trafficMs = performance.now()
    const { claims, shares } = await connect(lab, vip)
    say(`made ${CONNECTIONS} connections to http://${vip}/ in ${seconds(trafficMs)}\n`)
    say(showShares(shares).trimEnd())
    claims.push(...(await download(lab, vip)))
    claims.push(await show(lab, 'c1', ['status'], 8))
    claims.push(await show(lab, 'f1', ['hosts'], 4))
    claims.push(await show(lab, 'f1', ['flows', '--limit', '3'], 4))
    say('\ndraining a host while connections are made\n')
    claims.push(...(await drain(lab, vip)))
    say('\nchanging the cluster while connections are made\n')
    claims.push(...(await steer(lab, vip)))
    claims.push(await show(lab, 'h2', ['nodes'], 7))
    say('')
    for (const claim of claims) say(`${claim.ok ? 'yes' : 'NO '}  ${claim.text}`)
    return claims.every(claim => claim.ok)
  } finally {
    await lab.down()
    say(`\nremoved everything; ${seconds(startMs)} in all. Next: shunt lab up`)
  }
}

try {
  process.exitCode = (await demo()) ? 0 : 1
} catch (error) {
  process.stderr.write(`error: ${errorText(error)}\n`)
  process.exitCode = 1
}
