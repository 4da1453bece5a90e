/** What is sent through forwarder and host arrives whole, and the host's stack still merges it (GRO, in native mode). */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { XdpMode } from '../../src/os/bpf/link.ts'
import { missingBpf } from '../support/bpf.ts'
import { FAMILIES, type Family, VIP } from '../support/dataplane-world.ts'
import { mac } from '../support/ethernet.ts'
import { removeNetns } from '../support/netns.ts'
import { pattern } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'
import { PATH_MTU, runIn, XdpPath } from '../support/xdp-path.ts'

const it = suite('xdp/bulk')
const noBpf = missingBpf()

const MODES = ['native', 'generic'] as const satisfies readonly XdpMode[]
const USES = ['bulk', 'marked', 'unmarked'] as const
/** Of the client, for each connection its own: a port rests when its connection ends. */
const portOf = (use: (typeof USES)[number], mode: XdpMode, family: Family): number =>
  40_000 + 16 * USES.indexOf(use) + (mode === 'native' ? 0 : 8) + family
const BYTES = 12_000_000
const SHORT_BYTES = 100_000

let path: XdpPath
let folder: string

it.before(async () => {
  if (noBpf !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'xdp-host-'))
  writeFileSync(join(folder, 'body'), pattern(BYTES))
  writeFileSync(join(folder, 'short'), pattern(SHORT_BYTES))
  const ports = (family: Family): number[] =>
    USES.flatMap(use => MODES.map(mode => portOf(use, mode, family)))
  path = await XdpPath.open({ 4: ports(4), 6: ports(6) })
})
it.after(async () => {
  path?.close()
  await removeNetns()
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

/** Answers what came, hashed; the test's own process listens in the host's namespace. */
const listen = async (): Promise<{ close: () => Promise<void> }> => {
  const server = createServer((request, response) => {
    const hash = createHash('sha256')
    request.on('data', chunk => hash.update(chunk))
    request.on('end', () => response.end(hash.digest('hex')))
  })
  path.nodes.host.run(() => server.listen(80))
  if (!server.listening) await once(server, 'listening')
  return {
    close: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** What the server answers to a body of that many bytes; the wrong one if less arrives. @throws when it takes too long */
const upload = (family: Family, port: number, file: string, seconds = 60): Promise<string> => {
  const vip = family === 4 ? VIP[4] : `[${VIP[6]}]`
  const options = ['-sS', '-m', String(seconds), '--local-port', String(port)]
  return runIn(path.nodes.client, 'curl', ...options, '-T', join(folder, file), `http://${vip}/`)
}

const COUNTER = /counter packets (\d+)/

for (const mode of MODES)
  testIf(
    noBpf,
    it,
    `bulk TCP through both arrives whole${mode === 'native' ? ', and merged' : ''}: ${mode} XDP`,
    async () => {
      using _attached = path.attach(mode)
      const { nodes, xdp } = path
      const run = (...command: string[]): Promise<string> => runIn(nodes.host, ...command)
      const server = await listen()
      await run(
        'nft',
        'add table inet seen; add chain inet seen in { type filter hook prerouting priority -300; }',
      )
      try {
        for (const family of FAMILIES) {
          const address = family === 4 ? 'ip' : 'ip6'
          await run('nft', 'flush chain inet seen in')
          await run(
            'nft',
            `add rule inet seen in ${address} daddr ${VIP[family]} meta length > ${PATH_MTU} counter`,
          )
          xdp.resetCounters()
          const answer = await upload(family, portOf('bulk', mode, family), 'body')
          assert.is(answer, createHash('sha256').update(pattern(BYTES)).digest('hex'))
          const { REDIRECTED = 0, RESTORED = 0, NO_MAPPING, NO_ROUTE } = xdp.counted()
          const least = Math.floor(BYTES / PATH_MTU)
          assert.ok(
            REDIRECTED >= least && RESTORED >= least && RESTORED <= REDIRECTED,
            JSON.stringify(xdp.counted()),
          )
          assert.equal([NO_MAPPING, NO_ROUTE], [undefined, undefined])
          const [, merged] = COUNTER.exec(await run('nft', 'list chain inet seen in'))!
          // The kernel merges nothing on an interface with generic XDP.
          if (mode === 'native') assert.ok(Number(merged) > 0, 'no packets were merged')
          const errors = await run('grep', '-h', '-A1', '^Tcp:', '/proc/net/snmp')
          assert.is(errors.trim().split('\n')[1].split(' ').at(-1), '0', 'checksum errors')
        }
      } finally {
        await run('nft', 'delete table inet seen')
        await server.close()
      }
    },
  )

/** As the rules of a forwarder would: to them a restored packet is one of a client, without a route. */
const RULES = (mark: string): string =>
  `add table netdev behind; add chain netdev behind in { type filter hook ingress device v0 priority -150; };
   add rule netdev behind in ether saddr ${mark} accept;
   add rule netdev behind in ip daddr ${VIP[4]} tcp flags & (syn | fin | rst) == 0 drop;
   add rule netdev behind in ip6 daddr ${VIP[6]} tcp flags & (syn | fin | rst) == 0 drop;`

for (const mode of MODES)
  testIf(noBpf, it, `rules behind the program let through what it marked: ${mode} XDP`, async () => {
    using _attached = path.attach(mode)
    const { nodes, xdp } = path
    const run = (...command: string[]): Promise<string> => runIn(nodes.host, ...command)
    const server = await listen()
    const mark = mac(0x99)
    await run('nft', RULES('02:00:5e:00:00:99'))
    try {
      for (const family of FAMILIES) {
        xdp.stackMark(mark)
        const answer = await upload(family, portOf('marked', mode, family), 'short')
        assert.is(answer, createHash('sha256').update(pattern(SHORT_BYTES)).digest('hex'))
        xdp.stackMark(null)
        let refused = false
        await upload(family, portOf('unmarked', mode, family), 'short', 0.5).catch(() => {
          refused = true
        })
        assert.ok(refused, 'without the mark nothing should get through')
      }
    } finally {
      xdp.stackMark(null)
      await run('nft', 'delete table netdev behind')
      await server.close()
    }
  })

it.run()
