/**
 * What the network adds to a message of the control links, counted on real agents: a lab with one forwarder, one classifier and
 * four hosts is left alone, nftables counts the packets of the links' port in the forwarder's namespace, and the agent its frames.
 * bench/health-scale.ts uses the result. Needs root.
 *   bench/framing.ts [--seconds 30] [--source]     --source: agents from the sources, although dist/shunt is built
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { StatusData } from '../src/control/types.ts'
import { errorText } from '../src/errors.ts'
import { Lab } from '../src/lab/lab.ts'
import { benchName, builtBinary } from './lib/setup.ts'

const NODE = 'f1'
const PORT = 6780
const ETHERNET_BYTES = 14
/** IP, TCP with timestamps, and at most three blocks of SACK: nothing that carries data of a link is as short. */
const LONGEST_BARE_BYTES = 80

interface Counted {
  packets: number
  bytes: number
}
type Look = Record<'in_data' | 'in_bare' | 'out_data' | 'out_bare' | 'in_echo' | 'out_echo', Counted> & {
  atMs: number
  links: Record<string, number>
}
const NAMES = ['in_data', 'in_bare', 'out_data', 'out_bare', 'in_echo', 'out_echo'] as const

const ruleset = (): string => {
  const ports = ['sport', 'dport'].map(end => `tcp ${end} ${PORT}`)
  const chain = (way: 'in' | 'out'): string =>
    `chain ${way} { type filter hook ${way}put priority -300; policy accept;
       ${ports.map(port => `${port} ip length > ${LONGEST_BARE_BYTES} counter name ${way}_data`).join('\n')}
       ${ports.map(port => `${port} ip length <= ${LONGEST_BARE_BYTES} counter name ${way}_bare`).join('\n')}
       meta l4proto icmp counter name ${way}_echo
     }`
  return `table ip wire {
${NAMES.map(name => `counter ${name} { packets 0 bytes 0; }`).join('\n')}\n${chain('in')}\n${chain('out')}\n}`
}

const must = async (lab: Lab, argv: string[]): Promise<string> => {
  const { code, stdout, stderr } = await lab.exec(NODE, argv)
  if (code !== 0) throw new Error(`${argv[0]} failed: ${stderr}`)
  return stdout
}

const look = async (lab: Lab): Promise<Look> => {
  const [text, status] = await Promise.all([
    must(lab, ['nft', '-j', 'list', 'counters', 'table', 'ip', 'wire']),
    lab.api<StatusData>(NODE, '/v1/status'),
  ])
  const { nftables } = JSON.parse(text) as { nftables: { counter?: Counted & { name: string } }[] }
  const counted = Object.fromEntries(
    nftables.flatMap(({ counter }) => (counter === undefined ? [] : [[counter.name, counter]])),
  )
  return { ...counted, atMs: performance.now(), links: status.counters } as Look
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)

const report = (before: Look, after: Look): void => {
  const seconds = (after.atMs - before.atMs) / 1000
  const since = (name: (typeof NAMES)[number]): Counted => ({
    packets: after[name].packets - before[name].packets,
    bytes: after[name].bytes - before[name].bytes,
  })
  const link = (name: string): number => after.links[`link_${name}`]! - before.links[`link_${name}`]!
  const f = (n: number): string => n.toFixed(1).padStart(8)
  say(`${seconds.toFixed(1)} s at ${NODE}              received     sent`)
  const ways = [
    { data: since('in_data'), acks: since('out_bare'), frames: link('frames_in'), bytes: link('bytes_in') },
    { data: since('out_data'), acks: since('in_bare'), frames: link('frames_out'), bytes: link('bytes_out') },
  ]
  const row = (what: string, of: (way: (typeof ways)[number]) => number): void =>
    say(`${what.padEnd(36)} ${ways.map(way => f(of(way))).join(' ')}`)
  row('messages a second', ({ frames }) => frames / seconds)
  row('bytes of a message', ({ frames, bytes }) => bytes / frames)
  row('packets with data a message', ({ frames, data }) => data.packets / frames)
  row('IP bytes around a message', ({ frames, bytes, data }) => (data.bytes - bytes) / frames)
  row('packets back without data a message', ({ frames, acks }) => acks.packets / frames)
  row('IP bytes of those a message', ({ frames, acks }) => acks.bytes / frames)
  row(
    `Ethernet (${ETHERNET_BYTES} a packet) a message`,
    ({ frames, data, acks }) => (ETHERNET_BYTES * (data.packets + acks.packets)) / frames,
  )
  const [asked, echoes] = [since('out_echo'), since('in_echo')]
  say(
    `node probes: ${f(asked.packets / seconds)} packets/s out, ${f(echoes.packets / seconds)} in, ${f(echoes.bytes / echoes.packets)} IP bytes each`,
  )
}

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '30' }, source: { type: 'boolean', default: false } },
})
const lab = await Lab.up({
  ...{ name: benchName(), mode: 'managed', forwarders: 1, classifiers: 1, hosts: 4, readyTimeoutMs: 60_000 },
  binary: values.source ? undefined : builtBinary(),
})
try {
  await must(lab, ['nft', ruleset()])
  // Tables are exchanged and groups formed.
  await delay(10_000)
  const before = await look(lab)
  await delay(Number(values.seconds) * 1000)
  report(before, await look(lab))
} catch (error) {
  process.stderr.write(`benchmark broken: ${errorText(error)}\n`)
  process.exitCode = 1
} finally {
  await lab.down()
}
